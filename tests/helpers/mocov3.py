"""The config of a small MoCo v3 model."""

from typing import Any


def config(backbone: dict[str, Any] | None = None, dim: int = 16, **change: Any) -> dict[str, Any]:
    backbone = backbone or dict(
        type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8, init='moco'
    )
    return dict(
        dict(
            type='MoCoV3',
            backbone=backbone,
            neck=dict(type='MLP', dims=(dim, 24, 8), last_norm=True),
            head=dict(
                type='ContrastiveHead',
                temperature=0.2,
                scaled=True,
                predictor=dict(type='MLP', dims=(8, 24, 8), last_norm=True),
            ),
            momentum=dict(start=0.9, final=1.0),
        ),
        **change,
    )
