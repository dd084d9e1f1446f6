"""Replay a recorded case, and the settings of unrecorded ones."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from ..replay import command


def replay(folder: Path, tol: float | None = 1e-9, dtype: str = 'float64') -> Any:
    """Replay a case in this process."""
    return command.Replay(folder, tol, dtype=dtype)


def counts(done: Any) -> dict[str, int]:
    """Number of compared tensors of each group that has any."""
    return {group.name: group.count for group in done.groups.values() if group.count}


def failures(done: Any) -> list[str]:
    """Every tensor that does not agree."""
    return [line for group in done.groups.values() for line in group.failures]


def changed(block: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Copy a block with {'a.b': value} put in."""
    block = deepcopy(block)
    for path, value in changes.items():
        *parents, last = path.split('.')
        node = block
        for parent in parents:
            node = node[parent]
        node[last] = value
    return block


ADAMW = dict(type='AdamW', betas=[0.9, 0.999], eps=1e-8, state='from official.pth')
VIT = dict(
    family='vit',
    image_size=24,
    patch_size=8,
    embed_dim=16,
    depth=2,
    num_heads=2,
    mlp_ratio=2,
    norm_eps=1e-6,
    positions='learned',
)
SWIN = dict(
    family='swin',
    image_size=32,
    patch_size=2,
    embed_dim=8,
    depths=[2, 2, 2],
    num_heads=[1, 2, 4],
    window_size=4,
    mlp_ratio=2.0,
    norm_eps=1e-5,
    absolute_positions=False,
    norm_before_mlp='layer',
)
RESNET = dict(family='resnet', layers=[1, 1, 1, 1], stem_width=4)
CVT = dict(
    family='cvt',
    image_size=48,
    embed_dims=[8, 16, 24],
    depths=[2, 1, 2],
    num_heads=[2, 2, 3],
    window_sizes=[3, 4, 4],
    patch_sizes=[7, 3, 3],
    patch_strides=[4, 2, 2],
    patch_paddings=[2, 1, 1],
    mlp_ratio=3.0,
    qkv_bias=True,
)
CLOCK = dict(step=9, steps_per_epoch=4, epochs=8)

MOCOV2: dict[str, Any] = dict(
    method='mocov2',
    backbone=RESNET,
    heads=dict(projector=[128, 24, 12], bias=True, hidden_norm=False),
    views=dict(sizes=[32, 32], batch=5, **{'global': 2}),
    loss=dict(temperature=0.2, queue_length=24, queue_ptr_before=22),
    clock=CLOCK,
    schedule=dict(
        lr=dict(base=0.03, final=0.0, shape='cosine', per='epoch'),
        momentum=dict(start=0.999, final=0.999),
    ),
    optimizer=dict(
        type='SGD', momentum=0.9, weight_decay=1e-4, decay='all', state='from official.pth'
    ),
    clip=None,
    irreproducible=[],
)
MOCOV3: dict[str, Any] = dict(
    method='mocov3',
    backbone=dict(VIT, positions='sincos', frozen_patch_embed=False),
    heads=dict(
        projector=[16, 24, 24, 12],
        predictor=[12, 24, 12],
        projector_last_norm=True,
        predictor_last_norm=True,
    ),
    views=dict(sizes=[24, 24], batch=4, **{'global': 2}),
    loss=dict(temperature=0.2),
    clock=CLOCK,
    schedule=dict(
        lr=dict(base=3e-3, final=0.0, warmup_epochs=3, warmup_start=0.0),
        momentum=dict(start=0.99, final=1.0),
    ),
    optimizer=dict(ADAMW, weight_decay=0.1, decay='all'),
    clip=None,
    irreproducible=[],
)
LARS = dict(
    type='LARS',
    momentum=0.9,
    trust_coefficient=0.001,
    weight_decay=1e-2,
    decay='ndim_gt_1',
    state='from official.pth',
)
MOBY = dict(
    method='moby',
    backbone=SWIN,
    heads=dict(
        projector=[32, 24, 16],
        predictor=[16, 24, 16],
        projector_last_norm=False,
        predictor_last_norm=False,
        bias=True,
    ),
    views=dict(sizes=[32, 32], batch=4, **{'global': 2}),
    loss=dict(temperature=0.2, queue_length=20),
    clock=dict(CLOCK, momentum_step=9, momentum_total=32),
    schedule=dict(
        lr=dict(base=2e-3, final=1e-5, warmup_epochs=2, warmup_start=1e-6, lag=1),
        momentum=dict(start=0.99, final=1.0),
    ),
    optimizer=dict(ADAMW, weight_decay=0.05, decay='not_1d_nor_bias'),
    clip=dict(max_norm=1.0, each=False),
    irreproducible=[],
)
SWAV: dict[str, Any] = dict(
    method='swav',
    backbone=RESNET,
    heads=dict(projector=[128, 24, 12], prototypes=17),
    views=dict(sizes=[32, 32, 24, 24], batch=4, **{'global': 2}),
    loss=dict(temperature=0.1, epsilon=0.05, sinkhorn_iterations=3, assign=[0, 1], queue_length=12),
    clock=CLOCK,
    schedule=dict(lr=dict(base=0.6, final=6e-4, warmup_epochs=3, warmup_start=0.03)),
    optimizer=dict(
        type='LARC(SGD)',
        momentum=0.9,
        trust_coefficient=0.001,
        eps=1e-8,
        weight_decay=1e-3,
        decay='all',
        state='from official.pth',
    ),
    clip=None,
    frozen_prototypes=dict(iterations=20, in_this_step=True),
    irreproducible=[],
)
DINO_SCHEDULE = dict(
    lr=dict(base=2e-3, final=1e-6, warmup_epochs=1, warmup_start=0.0),
    weight_decay=dict(start=0.04, final=0.4),
    momentum=dict(start=0.9, final=1.0),
    teacher_temp=dict(start=0.04, final=0.07, warmup_epochs=4),
)
ESVIT = dict(
    method='esvit',
    backbone=dict(SWIN, image_size=48, patch_size=4, window_size=3, norm_eps=1e-6),
    heads=dict(mlp=[32, 24, 24, 12], prototypes=18, scale_trainable=True, region=True),
    views=dict(sizes=[48, 48, 28, 28, 28], batch=3, **{'global': 2}),
    loss=dict(student_temp=0.1, view_weight=0.5, region_weight=0.5, center_momentum=0.9),
    clock=CLOCK,
    schedule=DINO_SCHEDULE,
    optimizer=dict(ADAMW, decay='not_1d_nor_bias'),
    clip=dict(max_norm=0.05, each=True),
    frozen_last_layer=dict(epochs=1, in_this_step=False),
    irreproducible=[],
)
SERE: dict[str, Any] = dict(
    method='sere',
    backbone=dict(VIT, image_size=32, embed_dim=12, mask_token=True, frozen_patch_embed=False),
    heads=dict(
        mlp=[12, 24, 24, 10],
        prototypes=18,
        patch_prototypes=18,
        student_shared=True,
        teacher_shared=True,
        scale_trainable=True,
        norm=None,
    ),
    views=dict(sizes=[32, 32, 16, 16, 16], batch=3, **{'global': 2}),
    loss=dict(
        student_temp=0.1,
        cls_weight=1.0,
        patch_weight=1.0,
        center_momentum=0.9,
        patch_center_momentum=0.9,
        alpha_spatial=0.2,
        beta_channel=0.5,
        spatial_temp=0.5,
        channel_temp=0.1,
        overlap_size=[4, 3],
        local_grid_size=6,
        head_divisor={'global': 14, 'local': 6},
        local_heads='official rule: only when more than two views share the forward',
        ibot_factor=1.65,
    ),
    clock=CLOCK,
    schedule=dict(
        DINO_SCHEDULE,
        teacher_patch_temp=dict(start=0.04, final=0.06, warmup_epochs=2, epochs_at_start_first=1),
    ),
    optimizer=dict(ADAMW, decay='not_1d_unless_bias'),
    clip=dict(max_norm=0.05, each=True),
    frozen_last_layer=dict(epochs=1, in_this_step=False),
    irreproducible=[],
)
RELATION = (
    *('alpha_spatial', 'beta_channel', 'spatial_temp', 'channel_temp', 'overlap_size'),
    *('local_grid_size', 'head_divisor', 'local_heads'),
)
IBOT = dict(
    SERE,
    method='ibot',
    loss={k: v for k, v in dict(SERE['loss'], ibot_factor=1).items() if k not in RELATION},
    optimizer=dict(ADAMW, decay='not_1d_nor_bias'),
)
BLOCKS = dict(
    mocov2=MOCOV2,
    mocov3=MOCOV3,
    moby=MOBY,
    swav=SWAV,
    esvit=ESVIT,
    sere=SERE,
    ibot=IBOT,
)
