"""Every method, as small as it can be, with one batch of its data."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from mmssl.core import Progress
from mmssl.registry import MODELS

VIT = dict(type='VisionTransformer', arch=(12, 2, 2), img_size=16, patch_size=4, mlp_ratio=2)
SWIN = dict(
    type='SwinTransformer',
    arch=(8, (2, 2), (1, 2)),
    img_size=16,
    patch_size=2,
    window_size=4,
    mlp_ratio=2,
)
RESNET = dict(type='ResNet', layers=(1, 1), width=4, small_stem=True)  # 32 channels at the end
CVT = dict(
    type='CvT',
    widths=(8, 12),
    depths=(1, 1),
    num_heads=(1, 2),
    windows=(2, 2),
    embeds=((3, 2, 1), (3, 2, 1)),
)
MOMENTUM = dict(start=0.9, final=1.0)
TEMPERATURE = dict(start=0.07, shape='constant', warmup=2, warmup_start=0.04, warmup_reaches=True)


def mlp(*dims: int, **settings: Any) -> dict[str, Any]:
    """Config of a projector."""
    return dict(type='MLP', dims=dims, **settings)


def dino(width: int, **settings: Any) -> dict[str, Any]:
    """Config of a DINO head of 10 prototypes."""
    return dict(type='DINONeck', dims=(width, 16, 8), prototypes=10, **settings)


DISTILLATION = dict(type='DistillationHead', prototypes=10)
RELATION = dict(overlap_size=(4, 3), local_grid=3, divisor=(4, 2))
MODELS_BY_NAME: dict[str, dict[str, Any]] = {
    'moco': dict(
        type='MoCo',
        backbone=RESNET,
        neck=mlp(32, 16, 6, bias=True, hidden_norm=False),
        head=dict(type='ContrastiveHead', temperature=0.2),
        momentum=MOMENTUM,
        queue_length=14,
    ),
    'mocov3': dict(
        type='MoCoV3',
        backbone=RESNET,
        neck=mlp(32, 16, 6, last_norm=True),
        head=dict(type='ContrastiveHead', temperature=0.2, scaled=True, predictor=mlp(6, 16, 6)),
        momentum=MOMENTUM,
    ),
    'moby': dict(
        type='MoBY',
        backbone=SWIN,
        neck=mlp(16, 12, 6, bias=True),
        head=dict(type='ContrastiveHead', temperature=0.2, predictor=mlp(6, 12, 6, bias=True)),
        momentum=MOMENTUM,
        queue_length=14,
    ),
    'swav': dict(
        type='SwAV',
        backbone=RESNET,
        neck=mlp(32, 16, 6, bias=True),
        head=dict(type='SwAVHead', dim=6, prototypes=7, queue_length=16, queue_start=0),
    ),
    'esvit': dict(
        type='EsViT',
        backbone=CVT,
        neck=dino(12),
        head=DISTILLATION,
        teacher_temp=TEMPERATURE,
        momentum=MOMENTUM,
    ),
    'dino': dict(
        type='DINO',
        backbone=VIT,
        neck=dino(12, hidden_norm=True),
        head=DISTILLATION,
        teacher_temp=TEMPERATURE,
        momentum=MOMENTUM,
    ),
    'ibot': dict(
        type='iBOT',
        backbone=VIT,
        neck=dino(12, patch_prototypes=9),
        head=DISTILLATION,
        teacher_temp=TEMPERATURE,
        momentum=MOMENTUM,
    ),
    'sere': dict(
        type='SERE',
        backbone=VIT,
        neck=dino(12, patch_prototypes=10, shared=True),
        head=DISTILLATION,
        teacher_temp=TEMPERATURE,
        momentum=MOMENTUM,
        relation=RELATION,
    ),
}
LOCALS = {'swav': 2, 'esvit': 2, 'dino': 2, 'ibot': 1, 'sere': 3}
PROGRESS = Progress(7, 20, 5)


def build(name: str, seed: int = 0, **changes: Any) -> Any:
    """Build a method in float64, in training, at some progress; its teacher differs a little."""
    torch.manual_seed(seed)
    model = MODELS.build(deepcopy({**MODELS_BY_NAME[name], **changes})).double().train()
    model.progress = PROGRESS
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.ndim == 1 or n.startswith('teacher'):
                p += 0.05 * torch.randn_like(p)
        for n, b in model.named_buffers():
            if n.endswith('center'):
                b.copy_(0.1 * torch.randn_like(b))
            if n.endswith('memory.bank'):
                b.copy_(torch.nn.functional.normalize(torch.randn_like(b), dim=-1))
    return model


def batch(name: str, count: int, seed: int = 1) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Draw the views (B, 3, H, W) and samples of ``count`` images."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    small = LOCALS.get(name, 0)
    views = [normal(count, 3, 16, 16) for _ in (0, 1)]
    views += [normal(count, 3, 8, 8) for _ in range(small)]
    if name not in ('ibot', 'sere'):
        return views, {}
    mask = torch.rand(count, 2, 4, 4, generator=generator) < 0.4
    mask[0, 0] = False  # an image without mask stays in the mean
    low = torch.randint(0, 12, (count, 2 + small, 2), generator=generator)
    size = torch.randint(10, 20, (count, 2 + small, 2), generator=generator)
    flip = torch.randint(0, 2, (count, 2 + small, 1), generator=generator)
    return views, dict(mask=mask, box=torch.cat([low, size, flip], 2))


def part(
    data: tuple[list[Tensor], dict[str, Tensor]], rows: slice
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Take some images of a batch."""
    views, info = data
    return [view[rows] for view in views], {k: v[rows] for k, v in info.items()}


def gradients(model: Any) -> dict[str, Tensor]:
    """Copy the gradients by name."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def state(model: Any) -> dict[str, Tensor]:
    """Copy parameters and buffers by name."""
    return {n: v.detach().clone() for n, v in model.state_dict().items()}


def agree(ours: dict[str, Tensor], oracle: dict[str, Tensor], tol: float) -> None:
    """Compare dicts of tensors: relative to each one's largest element, rounding absolutely."""
    assert ours.keys() == oracle.keys()
    wrong = {}
    for name, expected in oracle.items():
        error = float((ours[name].double() - expected.double()).abs().max())
        if not error <= tol * max(float(expected.double().abs().max()), 1e-2):
            wrong[name] = error
    assert not wrong, wrong
