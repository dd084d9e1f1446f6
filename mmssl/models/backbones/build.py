"""Backbones by what a user has: settings, a module, or a name of timm or torchvision."""

import re
from typing import Any

import timm
import torch
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn

from ...checkpoint.timm_networks import vit_settings
from ...core import UserError
from ...core.errors import closest
from ...registry import MODELS
from .base import Backbone
from .module import ModuleBackbone
from .resnet import DEPTHS

HEADS = ('fc', 'classifier', 'heads', 'head')  # what torchvision calls the classifier
SMALL = 64  # pixels up to which a ResNet gets the stem of CIFAR networks


def build_backbone(backbone: dict[str, Any] | nn.Module) -> nn.Module:
    """Build a backbone from settings; a module is taken as it is, within `ModuleBackbone`."""
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, nn.Module):
        return ModuleBackbone(backbone)
    built: nn.Module = MODELS.build(backbone)
    return built


def backbone_settings(
    backbone: str | dict[str, Any] | nn.Module, img_size: int
) -> dict[str, Any] | Backbone:
    """Return the settings of a backbone for images of ``img_size`` pixels, or the backbone itself.

    A name is 'resnet18' and the like, of timm.list_models(), or 'torchvision/NAME'. Names of
    vision transformers (DINOv2's and DINOv3's too) and Swin become ours where they are equal, which
    take masks and crops of several sizes. Raises
    UserError for an unknown name and for what is none of these.
    """
    if isinstance(backbone, Backbone):
        return backbone
    if isinstance(backbone, nn.Module):
        return ModuleBackbone(backbone, img_size)
    if isinstance(backbone, dict) and isinstance(backbone.get('type'), str):
        return dict(backbone)
    if not isinstance(backbone, str):
        raise UserError(
            f'backbone={backbone!r}: give a name such as "resnet50", settings such as '
            "dict(type='VisionTransformer', arch='small'), or a torch module",
            key='backbone',
            value=backbone,
        )
    if backbone.startswith('torchvision/'):
        return ModuleBackbone(_of_torchvision(backbone.removeprefix('torchvision/')), img_size)
    plain = re.fullmatch(r'resnet(\d+)', backbone)
    if plain and int(plain[1]) in DEPTHS:
        return dict(type='ResNet', depth=int(plain[1]), small_stem=img_size <= SMALL)
    return _of_timm(backbone, img_size)


def _of_torchvision(name: str) -> nn.Module:
    """Return a network of torchvision without its classifier, with random weights."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UserError(
            f"backbone='torchvision/{name}': torchvision has no such network{closest(name, known)}",
            key='backbone',
            value=f'torchvision/{name}',
        )
    net: nn.Module = models.get_model(name, weights=None)
    head = next(part for part in HEADS if hasattr(net, part))
    layers = [n for n, m in net.get_submodule(head).named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise UserError(
            f'torchvision/{name}: its classifier is no linear layer, so its features are not '
            'known; pass the module that gives them as backbone',
            key='backbone',
            value=f'torchvision/{name}',
        )
    net.set_submodule(f'{head}.{layers[-1]}'.rstrip('.'), nn.Identity())
    return net


def _of_timm(name: str, img_size: int) -> dict[str, Any]:
    """Return the settings of a network of timm: ours where it is a plain transformer."""
    short = name.removeprefix('timm/')
    if not timm.is_model(short):
        known = [*timm.list_models(), *(f'resnet{depth}' for depth in DEPTHS)]
        raise UserError(
            f"backbone='{name}': no network of timm has this name{closest(short, known)}; others "
            "are 'torchvision/NAME'",
            key='backbone',
            value=name,
        )
    with torch.device('meta'):
        net = timm.create_model(short, num_classes=0)
    ours = vit_settings(net)
    if short == name and ours:
        return {**ours, 'img_size': img_size}
    if short == name and type(net) is TimmSwin:
        heads = [layer.blocks[0].attn.num_heads for layer in net.layers]
        return dict(
            type='SwinTransformer',
            arch=(net.embed_dim, [len(layer.blocks) for layer in net.layers], heads),
            patch_size=net.patch_embed.patch_size[0],
            window_size=net.layers[0].blocks[0].window_size[0],
            img_size=img_size,
        )
    settings: dict[str, Any] = dict(type='TimmBackbone', name=short)
    if isinstance(net, (TimmViT, Eva)):
        settings['args'] = dict(img_size=img_size, dynamic_img_size=True)
    elif isinstance(net, TimmSwin):
        settings['args'] = dict(img_size=img_size)
    return settings
