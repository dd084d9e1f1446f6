"""What the sources say of each published detector and segmentor, typed from the spec cards."""

import functools
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmssl import transfer  # noqa: F401, its types can be named

from .paths import REPO

FOLDER = REPO / 'configs' / 'transfer'
FILES = {p.stem: p for p in FOLDER.glob('mm*/*.py')}


class Card(NamedTuple):
    """A recipe in numbers; ``figures``: box and mask AP, or mIoU and mIoU at six sizes flipped.

    ``rate``: of learning rate from block to block. ``size``: the table's (parameters in M, FLOPs
    in G), where there is one.
    """

    length: int  # epochs, or iterations
    steps: tuple[int, ...]  # epochs after which the learning rate falls to a tenth
    per_gpu: int
    gpus: int
    amp: bool
    lr: float
    decay: float
    drop: float | None
    rate: float | None
    figures: tuple[float, ...]
    size: tuple[int, int] | None = None


def _swin(name: str, drop: float, epochs: int, steps: tuple[int, ...], size: tuple[int, int],
          **figures: tuple[float, float]) -> dict[str, Card]:  # fmt: skip
    return {
        name.format(who): Card(epochs, steps, 2, 8, True, 1e-4, 0.05, drop, None, found, size)
        for who, found in figures.items()
    }


def _r50(epochs: int, steps: tuple[int, ...], *figures: float) -> Card:
    return Card(epochs, steps, 2, 8, False, 0.02, 1e-4, None, None, figures)


MASK, CASCADE = 'mask-rcnn_swin-t-{}-pre_fpn_amp-ms-crop', 'cascade-mask-rcnn_swin-t-{}-pre_fpn_amp'
CASCADE += '-ms-crop'
VIT, R50 = 'cascade-mask-rcnn_vit-{}-ibot-pre_{}_8xb{}-amp-ms-crop-1x_coco', 'mask-rcnn_r50-{}_coco'
ONE, THREE = (12, (8, 11)), (36, (27, 33))
COCO = {
    **_swin(f'{MASK}-1x_coco', 0.1, *ONE, (48, 267), moby=(43.6, 39.6), sup=(43.7, 39.8)),
    **_swin(f'{MASK}-3x_coco', 0.2, *THREE, (48, 267), moby=(46.0, 41.7), sup=(46.0, 41.6)),
    **_swin(f'{CASCADE}-1x_coco', 0.0, *ONE, (86, 745), moby=(48.1, 41.5), sup=(48.1, 41.7)),
    **_swin(f'{CASCADE}-3x_coco', 0.2, *THREE, (86, 745), moby=(50.2, 43.5), sup=(50.4, 43.7)),
    VIT.format('small', 'fpn', 4): Card(
        *ONE, 4, 8, True, 1e-4, 0.05, 0.1, 0.8, (49.4, 42.6)
    ),
    VIT.format('base', 'fpn', 2): Card(*ONE, 2, 8, True, 1e-4, 0.05, 0.2, 0.75, (51.2, 44.2)),
    VIT.format('small', 'sfp', 4): Card(*ONE, 4, 8, True, 1e-4, 0.05, 0.1, 0.8, ()),
    VIT.format('base', 'sfp', 2): Card(*ONE, 2, 8, True, 1e-4, 0.05, 0.2, 0.75, ()),
    R50.format('mocov2-pre_fpn_1x'): _r50(*ONE, 38.0, 34.3),
    R50.format('mocov2-pre_fpn_ms-2x'): _r50(24, (16, 22), 40.8, 36.8),
    R50.format('swav-pre_fpn_1x'): _r50(*ONE, 39.1, 35.7),
    R50.format('swav-pre_fpn_ms-2x'): _r50(24, (16, 22), 41.3, 37.3),
    R50.format('sup-pre_fpn_1x'): _r50(*ONE, 38.2, 34.7),
    R50.format('sup-pre_fpn_ms-2x'): _r50(24, (16, 22)),
}  # fmt: skip

LONG = (160000, ())
ADE20K = {
    'swin-tiny-moby-pre_upernet_8xb2-160k_ade20k-512x512': Card(
        *LONG, 2, 8, False, 6e-5, 0.01, 0.3, None, (44.06, 45.58), (60, 945)
    ),
    'swin-tiny-sup-pre_upernet_8xb2-160k_ade20k-512x512': Card(
        *LONG, 2, 8, False, 6e-5, 0.01, 0.3, None, (44.51, 45.81), (60, 945)
    ),
    'vit-small-ibot-pre_upernet_4xb4-amp-160k_ade20k-512x512': Card(
        *LONG, 4, 4, True, 3e-5, 0.05, 0.1, 0.9, (45.4,)
    ),
    'vit-base-ibot-pre_upernet_8xb2-amp-160k_ade20k-512x512': Card(
        *LONG, 2, 8, True, 8e-5, 0.05, 0.1, 0.65, (50.0,)
    ),
    'vit-base-ibot-pre_linear_4xb4-amp-160k_ade20k-512x512': Card(
        *LONG, 4, 4, True, 8e-4, 0.05, None, None, (38.3,)
    ),
    'vit-small-ibot-pre_linear_8xb2-amp-160k_ade20k-512x512': Card(
        *LONG, 2, 8, True, 3e-5, 0.05, None, None, ()
    ),
}
CARDS = COCO | ADE20K

each = pytest.mark.parametrize('name', CARDS)
each_of_coco = pytest.mark.parametrize('name', COCO)
each_of_ade20k = pytest.mark.parametrize('name', ADE20K)


def library(name: str) -> str:
    """Return 'mmdet' or 'mmseg'."""
    return FILES[name].parent.name


@functools.cache
def load(name: str) -> Config:
    """Read a config once; do not change it."""
    return Config.fromfile(FILES[name])


@functools.cache
def network(name: str) -> nn.Module:
    """Build a config's model without memory for its weights."""
    linspace = torch.linspace  # networks read their drop path rates out of a tensor
    with (
        pytest.MonkeyPatch.context() as patch,
        DefaultScope.overwrite_default_scope(library(name)),
        torch.device('meta'),
    ):
        patch.setattr(torch, 'linspace', lambda *a, **k: linspace(*a, **{**k, 'device': 'cpu'}))
        found: nn.Module = MODELS.build(load(name).model)
        return found
