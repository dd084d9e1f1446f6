"""Find the network of timm that equals a backbone, for exports."""

from functools import singledispatch
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import GluMlp, PatchEmbed
from torch import nn
from torchvision.models.resnet import Bottleneck

from ...core import UserError
from .base import Backbone
from .resnet import DEPTHS, ResNet
from .swin import ARCHS, SwinTransformer
from .timm import TimmBackbone
from .vit import VisionTransformer
from .vit_parts import RotaryPositions


class Twin(NamedTuple):
    """``timm.create_model(name, num_classes=0, **args)`` takes the weights of ``backbone.net``.

    ``differs`` says what cannot be the same, or is empty.
    """

    name: str
    args: dict[str, Any]
    differs: str = ''


@singledispatch
def twin(backbone: Backbone) -> Twin:
    """Return timm's equal of a backbone. Raises UserError when timm has none."""
    raise UserError(
        f'timm has no class for {type(backbone).__name__}: its attention is that of EsViT; '
        'export it to ONNX or torch.export instead',
        key='backbone',
        value=type(backbone).__name__,
    )


@twin.register
def _(backbone: TimmBackbone) -> Twin:
    return Twin(backbone.name, backbone.args)


@twin.register
def _(backbone: ResNet) -> Twin:
    net = backbone.net
    width, small_stem = net.conv1.out_channels, net.conv1.stride != (2, 2)
    if width != 64 or small_stem:
        raise UserError(
            "timm's ResNet has a stem of 64 channels and stride 2 (width, small_stem); this one "
            f'has {width} channels and stride {net.conv1.stride[0]}',
            key='width' if width != 64 else 'small_stem',
            value=width if width != 64 else small_stem,
        )
    block = type(net.layer1[0])
    layers = tuple(len(net.get_submodule(f'layer{i + 1}')) for i in range(len(backbone.widths)))
    for depth, known in DEPTHS.items():
        if known == (block, layers):
            return Twin(f'resnet{depth}', {})
    return Twin('resnet50' if block is Bottleneck else 'resnet18', dict(layers=layers))


@twin.register
def _(backbone: VisionTransformer) -> Twin:
    net = backbone.net
    if not isinstance(net.patch_embed, PatchEmbed):
        raise UserError(
            "timm's ViT has no convolutional stem of MoCo v3; export it to ONNX or torch.export "
            'instead',
            key='stem',
            value='conv',
        )
    if isinstance(net.norm, nn.Identity):
        raise UserError(
            'a ViT with last_norm=False cannot be exported: export its pretraining file',
            key='last_norm',
            value=False,
        )
    if backbone.net.pos_embed is None:
        return _dinov3(backbone)
    dim, patch = backbone.num_features, backbone.patch_size
    size = {192: 'tiny', 384: 'small', 768: 'base', 1024: 'large', 1280: 'huge'}.get(dim, 'small')
    name = f'vit_{size}_patch{patch}_224'
    args = dict(
        img_size=net.patch_embed.img_size[0],
        patch_size=patch,
        embed_dim=dim,
        depth=len(net.blocks),
        num_heads=net.blocks[0].attn.num_heads,
        mlp_ratio=net.blocks[0].mlp.fc1.out_features / dim,
    )
    name = name if timm.is_model(name) else 'vit_small_patch16_224'
    if isinstance(net.blocks[0].mlp, GluMlp):
        name = 'vit_giant_patch14_dinov2'  # alone has a SwiGLU
    args |= _more(net, 'reg_tokens')
    differs = [_epsilon(net.norm.eps, 1e-6)]
    if net.reg_token is not None:
        args['no_embed_class'] = True
        differs.append('the class token takes in its position there, which rounds it')
    return Twin(name, args, '; '.join(filter(None, differs)))


def _more(net: Any, registers: str) -> dict[str, Any]:
    """Return timm's arguments for LayerScale, registers and biases."""
    args: dict[str, Any] = {}
    if not isinstance(net.blocks[0].ls1, nn.Identity):
        args['init_values'] = 1e-5  # any: the weights follow
    if net.reg_token is not None:
        args[registers] = net.reg_token.shape[1]
    if net.blocks[0].attn.qkv.bias is None:
        args['qkv_bias'] = False
    return args


def _dinov3(backbone: VisionTransformer) -> Twin:
    """Return timm's equal of a ViT with rotary positions."""
    net, dim = backbone.net, backbone.num_features
    mlp = net.blocks[0].mlp
    swiglu = isinstance(mlp, GluMlp)
    args = dict(
        img_size=net.patch_embed.img_size[0],
        patch_size=backbone.patch_size,
        embed_dim=dim,
        depth=len(net.blocks),
        num_heads=backbone.num_heads,
        mlp_ratio=mlp.fc2.in_features / dim,
        swiglu_mlp=swiglu,
        swiglu_align_to=1 if swiglu else 0,
        rope_temperature=backbone.rope_base,
        global_pool='token',
        qkv_bias=net.blocks[0].attn.qkv.bias is not None,
    )
    args |= dict(init_values=None, num_reg_tokens=0) | _more(net, 'num_reg_tokens')
    differs = [_epsilon(net.norm.eps, 1e-5)]
    computed = RotaryPositions(dim // backbone.num_heads, backbone.rope_base).state_dict()
    given = net.rope.periods
    if not torch.allclose(computed['periods'].to(given), given, rtol=1e-6):
        differs.append("periods of positions are the file's here, which rounds them")
    return Twin('vit_small_patch16_dinov3', args, '; '.join(filter(None, differs)))


@twin.register
def _(backbone: SwinTransformer) -> Twin:
    if backbone.batch_norm or backbone.absolute_pos_embed is not None:
        raise UserError(
            "timm's Swin has neither batch norm nor absolute positions (norm_before_mlp, "
            'absolute_positions); export it to ONNX or torch.export instead',
            key='norm_before_mlp' if backbone.batch_norm else 'absolute_positions',
            value='batch' if backbone.batch_norm else True,
        )
    net = backbone.net
    blocks = [stage.blocks for stage in net.layers]
    width, depths = backbone.widths[0], tuple(len(stage) for stage in blocks)
    heads = tuple(stage[0].attn.num_heads for stage in blocks)
    window = blocks[0][0].window_size[0]
    size = next((n for n, arch in ARCHS.items() if arch == (width, depths, heads)), 'tiny')
    args = dict(
        img_size=net.patch_embed.img_size[0],
        patch_size=backbone.patch_size,
        embed_dim=width,
        depths=depths,
        num_heads=heads,
        window_size=window,
        mlp_ratio=blocks[0][0].mlp.fc1.out_features / width,
    )
    differs = [_epsilon(net.norm.eps, 1e-5)]
    last = [stage[-1] for stage in blocks if any(stage[-1].shift_size)]
    if any(block.input_resolution[0] % block.window_size[0] for block in last):
        differs.append('timm shifts before it pads, and windows do not fill the maps of this size')
    return Twin(f'swin_{size}_patch4_window7_224', args, '; '.join(filter(None, differs)))


def _epsilon(ours: float, theirs: float) -> str:
    return '' if ours == theirs else f'the epsilon of norms is {ours:g} here and {theirs:g} in timm'
