"""What the converters share: take a backbone out, write it, and say how to use it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import files
from ..checkpoint.export import Network, export, network
from ..checkpoint.sizes import family, resize_table, sizes
from ..core import UserError
from ..models.backbones import SwinTransformer
from ..models.backbones.vit import ARCHS

# the layouts of each method's own files; files of one network fit every method
METHODS = {
    'moco': ('mocov2', 'mm_mocov2'),
    'mocov3': ('mocov3', 'mm_mocov3'),
    'moby': ('moby',),
    'esvit': ('esvit', 'dino'),
    'sere': ('sere', 'ibot'),
    'swav': ('swav', 'mm_swav'),
}
SMALL_EPS = ('esvit', 'dino', 'sere', 'ibot')
OURS = {'vit': 'VisionTransformer', 'cvt': 'CvT', 'vil': 'ViL', 'swin': 'SwinTransformer'}


def convert(
    source: str, output: str, target: str, method: str | None = None, side: str = 'export'
) -> None:
    """Write ``source``'s backbone for ``target`` and print the lines that use it."""
    found = network(source, side=side)
    check_method(found.dialect, source, method)
    written = export(found.state, target)
    notes = written.notes
    if family(found.state) == 'swin' and target != 'mmssl':
        notes = notes + differences(found, target)
    files.write({'state_dict': written.state}, Path(output))
    print(f'{source}: {found.dialect} file, {found.side} side')
    print(f'{output}: {len(written.state)} tensors for {target}; heads are left out')
    for note in notes:
        print(f'note: {note}')
    print(lines(found, target, output))


def check_method(dialect: str, source: str, method: str | None) -> None:
    """Refuse another method's file than the one named."""
    own = {name for name, layouts in METHODS.items() if dialect in layouts}
    if method and own and method not in own:
        raise UserError(f'{source}: is a file of {own.pop()} ({dialect}), not of {method}')


def norm_eps(found: Network) -> float:
    """Return the epsilon of the network's layer norms, which its tensors do not tell."""
    default = 1e-6 if family(found.state) == 'vit' or found.dialect in SMALL_EPS else 1e-5
    return float(found.settings.get('norm_eps', default))


def num_heads(found: Network) -> int | None:
    """Return a ViT's heads, which its tensors do not tell: from its settings or its method."""
    width = sizes(found.state)['width']
    if 'arch' in found.settings:
        arch = found.settings['arch']
        size = ARCHS.get(arch) if isinstance(arch, str) else arch
        return found.settings.get('num_heads') or (size and size[2])
    if found.dialect in METHODS['mocov3'] and width in (384, 768):
        return 12  # not the 6 of DeiT's small one
    return None if width % 64 else width // 64


# what to paste ------------------------------------------------------------------------------------
def lines(found: Network, target: str, output: str) -> str:
    """Return the config lines (mmdet, mmseg, mmssl) or the Python line that use the file."""
    kind, size = family(found.state), sizes(found.state)
    if target in ('timm', 'torchvision'):
        read = (
            f'safetensors.torch.load_file({output!r})'
            if output.endswith('.safetensors')
            else f"torch.load({output!r}, weights_only=True)['state_dict']"
        )
        return f'net.load_state_dict({read}, strict=False)  # the classifier stays new'
    settings: dict[str, Any] = {}
    if target == 'mmssl' or kind in ('cvt', 'vil') or (kind == 'vit' and target == 'mmdet'):
        settings = _ours(found, kind, size)
    elif kind == 'resnet':
        settings = {'depth': size['depth'], 'init_cfg': None}
        if size['width'] != 64:
            settings |= {'base_channels': size['width'], 'stem_channels': size['width']}
    else:
        settings = _swin(size) if kind == 'swin' else _vit(found, size)
        if norm_eps(found) != 1e-5:
            settings['norm_cfg'] = dict(type='LN', eps=norm_eps(found))
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=output)
    text = ''.join(f'    {name}={_literal(value)}\n' for name, value in settings.items())
    head = ''
    if str(settings.get('type', '')).startswith('mmssl.'):
        head = "custom_imports = dict(imports=['mmssl.models'], allow_failed_imports=False)\n"
    return f'{head}backbone=dict(\n{text})'


def _literal(value: Any) -> str:
    if isinstance(value, dict):
        return f'dict({", ".join(f"{k}={v!r}" for k, v in value.items())}),'
    untold = value is None or (isinstance(value, tuple) and None in value)
    return f'{value!r},' + '  # the file does not tell: as in pretraining' * untold


def _swin(size: dict[str, Any]) -> dict[str, Any]:
    patch = size['patch_size']
    settings = dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=size['width'],
        depths=size['depths'],
        num_heads=size['heads'],
        window_size=max(size['windows']),
        mlp_ratio=size['mlp_ratio'],
    )
    return settings | ({} if patch == 4 else dict(patch_size=patch, strides=(patch, 2, 2, 2)))


def _vit(found: Network, size: dict[str, Any]) -> dict[str, Any]:
    return dict(
        _delete_=True,
        type='VisionTransformer',
        img_size=size['img_size'],
        patch_size=size['patch_size'],
        embed_dims=size['width'],
        num_layers=size['depth'],
        num_heads=num_heads(found),
        mlp_ratio=size['mlp_ratio'],
        patch_bias=True,
        final_norm=True,
    )


def _ours(found: Network, kind: str, size: dict[str, Any]) -> dict[str, Any]:
    settings = {'_delete_': True, 'type': f'mmssl.{OURS.get(kind, "ResNet")}', **found.settings}
    settings['type'] = f'mmssl.{settings["type"].removeprefix("mmssl.")}'
    if kind == 'vit' and not found.settings:
        settings['arch'] = (size['width'], size['depth'], num_heads(found))
        settings |= {k: size[k] for k in ('img_size', 'patch_size')}
    if kind == 'swin' and not found.settings:
        settings['arch'] = (size['width'], size['depths'], size['heads'])
        settings |= dict(window_size=max(size['windows']), norm_eps=norm_eps(found))
    if kind == 'resnet' and not found.settings:
        settings |= {k: size[k] for k in ('layers', 'width')}
    return {k: v for k, v in settings.items() if k not in ('init_cfg', 'mask_token')}


# what differs -------------------------------------------------------------------------------------
@torch.no_grad()
def differences(found: Network, target: str) -> list[str]:
    """Measure what a foreign Swin does otherwise, on one random image of the native size."""
    size, eps = sizes(found.state), norm_eps(found)
    side = size['windows'][-1] * size['patch_size'] * 2 ** (len(size['depths']) - 1)
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).double()
    net = _build(found.state, side, eps)
    notes = []
    if eps != 1e-5:
        other = _build(found.state, side, 1e-5).encode(image).tokens
        share = _relative(other, net.encode(image).tokens)
        how = 'the norm_cfg below keeps it' if target.startswith('mm') else 'pass your own norm'
        notes.append(
            f'layer norms have epsilon {eps:g}, {target} 1e-05 unless told otherwise ({how}): '
            f'features would differ by {share:.1e}, measured on one image of {side} px'
        )
    if not target.startswith('mm'):
        return notes
    (dense,) = net(image)
    plain = net.encode(image).raw.unflatten(1, dense.shape[2:]).permute(0, 3, 1, 2)
    if (share := _relative(dense, plain)) > 1e-9:
        notes.append(
            f'{target} shifts the windows of odd blocks where the map is one window, pretraining '
            f'did not: the last stage differs by {share:.1e} at {side} px'
        )
    if len(set(size['windows'])) > 1:
        window = max(size['windows'])
        state = {
            k: resize_table(v, window) if k.endswith('relative_position_bias_table') else v
            for k, v in found.state.items()
        }
        larger = _build(state, side * window // size['windows'][-1], eps)
        notes.append(
            f'with the resized position biases the last stage differs by '
            f'{_relative(larger(image)[0], dense):.1e} at {side} px'
        )
    return notes


def _build(state: dict[str, Tensor], side: int, eps: float) -> SwinTransformer:
    size = sizes(state)
    net = SwinTransformer(
        (size['width'], size['depths'], size['heads']),
        img_size=side,
        patch_size=size['patch_size'],
        window_size=max(size['windows']),
        mlp_ratio=size['mlp_ratio'],
        norm_eps=eps,
    )
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'the file holds no whole Swin: {error}') from None
    return net.double().eval()


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())
