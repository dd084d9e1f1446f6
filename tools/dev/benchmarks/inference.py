"""Forward alone of the networks of the published tables, beside timm's and torchvision's.

No gradients, one batch of random images of 224 px, float32, or bfloat16 on a GPU. The img/s that
MoBY's README publishes are a V100's: only the order of networks may be compared with them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn

from mmssl.planning.complexity import count
from mmssl.registry import MODELS

from .timing import DEVICE, Builders, Comparison, Taken, spread


class Entry(NamedTuple):
    """A backbone's config, the same network of a library, and published img/s."""

    backbone: dict
    library: str | None = None
    published: str = ''


def _swin(arch: str, window: int = 7) -> dict:
    return dict(type='SwinTransformer', arch=arch, window_size=window)


NETWORKS = {
    'ResNet-50': Entry(dict(type='ResNet', depth=50), 'torchvision/resnet50'),
    'ResNet-50 w2': Entry(dict(type='ResNet', depth=50, width=128)),
    'ResNet-50 w4': Entry(dict(type='ResNet', depth=50, width=256)),
    'ViT-S/16': Entry(
        dict(type='VisionTransformer', arch='small'), 'vit_small_patch16_224', '940.4 (DeiT-S)'
    ),
    'ViT-B/16': Entry(dict(type='VisionTransformer', arch='base'), 'vit_base_patch16_224'),
    'Swin-T': Entry(_swin('tiny'), 'swin_tiny_patch4_window7_224', '755.2'),
    'Swin-T, window 14': Entry(_swin('tiny', 14)),
    'Swin-S': Entry(_swin('small'), 'swin_small_patch4_window7_224'),
    'Swin-B': Entry(_swin('base'), 'swin_base_patch4_window7_224'),
    'CvT': Entry(dict(type='CvT')),
    'ViL': Entry(dict(type='ViL', mode=0)),
}


def library(name: str) -> nn.Module:
    """Build a library's network without its classifier."""
    if name.startswith('torchvision/'):
        net = torchvision.models.get_model(name.removeprefix('torchvision/'))
        net.fc = nn.Identity()
        return net
    return timm.create_model(name, num_classes=0)


@torch.no_grad()
def look(features: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Encode images (B, 3, H, W), and wait for the sum."""
    with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == 'cuda'):
        return float(features(images).sum())


def beside_library(entry: Entry, batch: int) -> Comparison:
    """Ours and, where there is one, the library's network."""
    ours = MODELS.build(entry.backbone).to(DEVICE).eval()
    images = torch.randn(batch, 3, 224, 224, device=DEVICE)
    nets: dict[str, Any] = dict(ours=lambda x: ours.encode(x).pooled)
    if entry.library:
        nets['library'] = library(entry.library).to(DEVICE).eval()

    def facts(name: str, taken: Taken) -> dict[str, Any]:
        parameters, speed = f'{count(ours) / 1e6:.1f} M', batch / spread(taken[name])['median']
        return {'parameters': parameters, 'img/s': speed, 'published, V100': entry.published}

    contestants = {name: partial(look, net, images) for name, net in nets.items()}
    return Comparison(contestants, ['library'], facts=facts)


def comparisons(batch: int = 256 if DEVICE == 'cuda' else 16) -> Builders:
    """One of each network."""
    return {name: lambda _, e=entry: beside_library(e, batch) for name, entry in NETWORKS.items()}
