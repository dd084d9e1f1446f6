"""Settings of a network that its tensors do not state: heads, norms, and how images are given."""

import logging
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..checkpoint.architecture import family, sizes
from ..checkpoint.export import Network
from ..checkpoint.hyperparameters import ATTENTION_HEADS, METHODS, SMALL_EPS
from ..core import UserError
from ..models.backbones.vit import ARCHS, VisionTransformer


def check_method(layout: str, source: str, method: str | None) -> None:
    """Check that a file is of ``method``, if one is named; files of one network fit every method.

    Raises UserError when it is of another method.
    """
    for name, layouts in METHODS.items():
        if method and layout in layouts and name != method:
            raise UserError(
                f'{source}: is a file of {name} ({layout}), not of {method}; use --selfsup {name}, '
                'or leave it out',
                key='--selfsup',
                value=method,
            )


def norm_eps(found: Network) -> float:
    """Return the epsilon of the network's layer norms, from its settings or its method."""
    small = family(found.state) == 'vit' and 'net.pos_embed' in found.state
    default = 1e-6 if small or found.layout in SMALL_EPS else 1e-5
    return float(found.settings.get('norm_eps', default))


def stated_heads(found: Network) -> int | None:
    """Return a ViT's attention heads, from its settings or method; None where neither tells."""
    if 'arch' in found.settings:
        heads: int | None = VisionTransformer.hyperparameters_of(found.settings)['num_heads']
        return heads
    return ATTENTION_HEADS.get(found.layout, {}).get(sizes(found.state)['width'])


def num_heads(found: Network) -> int | None:
    """Return a ViT's attention heads, as stated or by its width; None when unknown."""
    width = sizes(found.state)['width']
    return stated_heads(found) or (None if width % 64 else width // 64)


# settings of a config that follow from the file ---------------------------------------------------
def match_settings(found: Network, cfg: Config, path: str) -> None:
    """Set what the network at ``path`` needs of the config's backbone, in place, and say it.

    They are the epsilon of the norms, a bias of the patch embedding, and that mmdet does not rename
    a converted file again. Raises UserError for a ViT with another number of heads.
    """
    backbone = cfg.model.backbone
    kind = family(found.state)
    ours = str(backbone['type']).startswith('mmssl.')
    if kind == 'resnet':
        _warn_of_caffe(cfg, path)
    if kind in ('vit', 'swin'):
        _set_eps(backbone, norm_eps(found), ours)
    if backbone.get('convert_weights'):
        backbone['convert_weights'] = False
        _say('convert_weights', False, f'{path} is converted already')
    if kind == 'vit':
        if not ours and 'net.patch_embed.proj.weight' in found.state:
            bias = 'net.patch_embed.proj.bias' in found.state
            if bias != backbone.get('patch_bias', False):
                backbone['patch_bias'] = bias
                _say('patch_bias', bias, f'as in {path}')
        _check_heads(found, backbone, path)


def _say(key: str, value: Any, why: str) -> None:
    print_log(f'model.backbone.{key}={value}: {why}', logger='current', level=logging.WARNING)


def _set_eps(backbone: dict[str, Any], eps: float, ours: bool) -> None:
    """Set the norms' epsilon of the file's method, unless the config states another."""
    if ours:
        backbone.setdefault('norm_eps', eps)
    else:
        backbone['norm_cfg'] = dict(type='LN', eps=eps) | dict(backbone.get('norm_cfg') or {})


def _check_heads(found: Network, backbone: dict[str, Any], path: str) -> None:
    """Compare a ViT's attention heads, which tensors do not state."""
    arch, wanted = backbone.get('arch'), backbone.get('num_heads')
    if wanted is None and arch is not None:
        wanted = (ARCHS[arch] if isinstance(arch, str) else arch)[2]
    heads = stated_heads(found)
    if None not in (heads, wanted) and wanted != heads:
        raise UserError(
            f"{path}: its ViT has {heads} heads, the config's {wanted}; add --cfg-options "
            f'model.backbone.num_heads={heads}',
            key='model.backbone.num_heads',
            value=wanted,
        )


def _warn_of_caffe(cfg: Config, path: str) -> None:
    """Say where a config gives a ResNet what Caffe's were trained with: strides and pixels."""
    images = cfg.model.get('data_preprocessor') or {}
    caffe = {}
    if cfg.model.backbone.get('style') == 'caffe':
        caffe['backbone.style'] = 'pytorch'
    if images.get('std') and all(value == 1 for value in images['std']):
        caffe['data_preprocessor.mean'] = '[123.675,116.28,103.53]'
        caffe['data_preprocessor.std'] = '[58.395,57.12,57.375]'
    if images.get('bgr_to_rgb') is False:
        caffe['data_preprocessor.bgr_to_rgb'] = 'True'
    if caffe:
        options = ' '.join(f'model.{key}={value}' for key, value in caffe.items())
        print_log(
            f'{path}: the config is for weights of Caffe, whose strides and pixels are others: '
            f'features change; for weights of PyTorch add --cfg-options {options}',
            logger='current',
            level=logging.WARNING,
        )
