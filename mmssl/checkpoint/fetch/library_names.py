"""Weights of timm and torchvision by name: where their libraries keep them, of which network."""

import re
from typing import Any

import torch

from ...core import UserError
from ...core.errors import closest
from ..timm_networks import vit_settings

PREFIXES = ('timm:', 'torchvision:')


def library_address(text: str) -> str:
    """Return the address of ``timm:NAME`` or ``torchvision:NAME``; other text as it is.

    timm's names may end in a tag ('resnet50.a1_in1k'), torchvision's weights are its default.
    Raises UserError for a name without published weights.
    """
    prefix, _, name = text.partition(':')
    if f'{prefix}:' not in PREFIXES:
        return text
    return _of_timm(name) if prefix == 'timm' else _of_torchvision(name)


def library_backbone(text: str) -> dict[str, Any]:
    """Return the ``model.backbone`` of ``timm:NAME`` or ``torchvision:NAME``.

    A vision transformer of timm that ours equals is ours, at the size that timm states. Empty for
    networks of torchvision other than ResNets, and for text that is no such name. Raises UserError
    for a name that timm does not know.
    """
    library, _, name = text.partition(':')
    if library == 'timm':
        import timm

        if not timm.is_model(name):
            raise _unknown('timm', name, timm.list_models(pretrained=True))
        with torch.device('meta'):
            net = timm.create_model(name, num_classes=0)
        ours = vit_settings(net)
        if ours is None:
            return dict(type='TimmBackbone', name=name)
        return ours | dict(img_size=net.patch_embed.img_size[0])
    depth = re.fullmatch(r'resnet(\d+)', name)
    return dict(type='ResNet', depth=int(depth[1])) if depth and library == 'torchvision' else {}


def _of_timm(name: str) -> str:
    import timm

    if not timm.is_model(name):
        raise _unknown('timm', name, timm.list_models(pretrained=True))
    cfg: Any = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.hf_hub_id:
        return f'hf-hub:{cfg.hf_hub_id}'
    if cfg is not None and cfg.url:
        return str(cfg.url)
    raise _unknown('timm', name, timm.list_models(pretrained=True))


def _of_torchvision(name: str) -> str:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown('torchvision', name, known)
    return str(models.get_model_weights(name).DEFAULT.url)


def _unknown(library: str, name: str, known: list[str]) -> UserError:
    return UserError(
        f'{library}:{name}: {library} has no weights of this name{closest(name, known)}',
        key='file',
        value=f'{library}:{name}',
    )
