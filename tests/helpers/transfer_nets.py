"""Small backbones for detectors and segmentors, in ours and in the other libraries' terms."""

from collections.abc import Callable
from typing import Any

from torch import nn

from mmssl.models.backbones import ResNet, SwinTransformer, VisionTransformer

from .paths import REPO

SMALL = REPO / 'configs' / 'transfer' / 'small'
SWIN: dict[str, Any] = dict(arch=(12, (1, 1, 1, 2), (1, 1, 2, 4)), window_size=4, img_size=128)
VIT: dict[str, Any] = dict(arch=(24, 4, 3), img_size=64, patch_size=8)
RESNET: dict[str, Any] = dict(depth=18, width=8)
NETS: dict[str, Callable[..., nn.Module]] = {
    'swin': lambda **more: SwinTransformer(**SWIN, **more),
    'vit': lambda **more: VisionTransformer(**VIT, **more),
    'resnet': lambda **more: ResNet(**RESNET, **more),
}

# route a; strides as the patches are
THEIRS = {
    'swin': dict(
        type='SwinTransformer', embed_dims=12, depths=(1, 1, 1, 2), num_heads=(1, 1, 2, 4),
        window_size=4, pretrain_img_size=128,
    ),
    'resnet': dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    'vit': dict(
        type='VisionTransformer', img_size=64, patch_size=8, embed_dims=24, num_layers=4,
        num_heads=3, out_indices=(0, 1, 2, 3), norm_cfg=dict(type='LN', eps=1e-6),
        patch_bias=True,
    ),
}  # fmt: skip
OURS = {
    'swin': dict(type='mmssl.SwinTransformer', out_norm=True, **SWIN),
    'resnet': dict(type='mmssl.ResNet', **RESNET),
    'vit': dict(type='mmssl.VisionTransformer', **VIT),
}
