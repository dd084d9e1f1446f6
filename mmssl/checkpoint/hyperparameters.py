"""Settings that tensors do not tell: attention heads, epsilon of norms, windows of CvT.

A file of ours states them among its settings. Of official files the method tells, for its own
published networks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..core import UserError
from ..core.protocols import KnowsItsFile
from .architecture import additions, family, sizes, vit_settings
from .layouts import LAYOUTS

# the layouts of each method's own files; files of one network fit every method
METHODS = {
    'moco': ('mocov2', 'mm_mocov2', 'openselfsup_mocov2'),
    'mocov3': ('mocov3', 'mm_mocov3'),
    'moby': ('moby',),
    'esvit': ('esvit', 'dino'),
    'dino': ('dino',),
    'sere': ('sere', 'ibot'),
    'swav': ('swav', 'mm_swav'),
    'dinov2': ('dinov2',),
    'dinov3': ('dinov3',),
}
# layouts whose methods use an epsilon of 1e-6 in every network
SMALL_EPS = ('esvit', 'dino', 'sere', 'ibot', 'dinov2')
# layout -> {width of a ViT that the method's authors publish: its heads}
_DEIT = {192: 3, 384: 6, 768: 12, 1024: 16}
_MOCO = {384: 12, 768: 12}
_FOUNDATION = {384: 6, 768: 12, 1024: 16, 1280: 20, 1536: 24, 4096: 32}
ATTENTION_HEADS = {
    **{layout: _FOUNDATION for layout in ('dinov2', 'dinov3')},
    **{layout: _DEIT for layout in ('moby', 'esvit', 'dino', 'sere', 'ibot')},
    **{layout: _MOCO for layout in METHODS['mocov3']},
}


def backbone_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``meta.settings.model.backbone`` of our own training files, or an empty dict."""
    entry: Any = content.get('meta')
    for key in ('settings', 'model', 'backbone'):
        entry = entry.get(key) if isinstance(entry, dict) else None
    # names that are none would become code in the config that a converter prints
    named = isinstance(entry, dict) and all(str(key).isidentifier() for key in entry)
    return dict(entry) if named else {}


def foundation_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of our network for a file of DINOv2 or DINOv3; {} for other files.

    Their heads have 64 channels, those of the 7B model 128. A file of timm's names is DINOv2's
    where it has LayerScale and patches of 14 pixels.
    """
    names = ('dinov2', 'dinov3', 'timm_dinov3', 'timm')
    found = [LAYOUTS[name].find(dict(content)) for name in names]
    layout, foreign = next(
        ((name, state) for name, state in zip(names, found, strict=True) if state), ('', {})
    )
    if not layout:
        return {}
    ours, _ = LAYOUTS[layout].translate(foreign)
    state = {
        key.removeprefix('backbone.'): value
        for key, value in ours.items()
        if key.startswith('backbone.')
    }
    if family(state) != 'vit' or additions(state):
        return {}
    size = sizes(state)
    if layout == 'timm' and not (size['layer_scale'] and size['patch_size'] == 14):
        return {}
    heads = ATTENTION_HEADS['dinov2'].get(size['width'], max(size['width'] // 64, 1))
    return vit_settings(state, heads, 1e-6 if 'img_size' in size else 1e-5)


def compare(
    model: nn.Module, content: Mapping[str, Any], layout: str, target: dict[str, Tensor], path: str
) -> None:
    """Compare what a file tells of its network beside its tensors with the model's backbones.

    ``target`` are the model's tensors (any shapes), ``layout`` the file's. Where a method alone
    tells the epsilon, which moves features by 1e-5, a line says so. Raises UserError where both
    tell and differ: the tensors would fit, and be another network.
    """
    settings = backbone_settings(content) if layout == 'mmssl' else {}
    for backbone in _backbones(model):
        found = _of_settings(backbone, settings) if settings else _of_method(layout, target)
        differing = [
            key
            for key, value in backbone.hyperparameters.items()
            if found.get(key) is not None and found[key] != value
        ]
        wrong = ', '.join(
            f'{key}={found[key]} for {backbone.hyperparameters[key]}' for key in differing
        )
        right = ' '.join(f'model.backbone.{key}={found[key]}' for key in differing)
        if differing == ['norm_eps'] and not settings:
            print_log(f'{path}: {layout} networks have {wrong}; set {right}', logger='current')
        elif differing:
            raise UserError(
                f'{path}: holds another network than the config names: it has {wrong}; set {right}',
                key='file',
                value=path,
            )


def _backbones(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if isinstance(module, KnowsItsFile))


def _of_settings(backbone: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the settings of a network tell, read by its class, or as they are."""
    if str(settings.get('type')).rpartition('.')[2] == type(backbone).__name__:
        return dict(backbone.hyperparameters_of(settings))
    return settings


def _of_method(layout: str, target: dict[str, Tensor]) -> dict[str, Any]:
    """Return what the method of a layout tells of a network with these tensors (any shapes)."""
    state = {f'net.{key.rpartition("net.")[2]}': value for key, value in target.items()}
    kind = family(state)
    if kind == 'vit':
        token = state.get('net.cls_token')
        width = 0 if token is None else token.shape[-1]
        return dict(
            num_heads=ATTENTION_HEADS.get(layout, {}).get(width), norm_eps=_eps(layout, 1e-6)
        )
    if kind == 'swin':
        return dict(norm_eps=_eps(layout, 1e-5))
    return {}


def _eps(layout: str, default: float) -> float | None:
    """Return the epsilon of layer norms in the networks of a layout's method, None if unknown."""
    if layout in SMALL_EPS:
        return 1e-6
    if layout == 'dinov3':
        return 1e-5
    return default if any(layout in layouts for layouts in METHODS.values()) else None
