"""Convert a backbone for another library: command line, output file and the printed report.

selfsup2mmdet, selfsup2mmseg and extract_backbone are entries to `run_converter`.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import save
from ..checkpoint.architecture import additions, family, sizes, vit_settings
from ..checkpoint.export import TARGETS, Network, export, network
from ..checkpoint.fit import LAST_NORM, compare, describe
from ..checkpoint.hyperparameters import METHODS
from ..config.stored_settings import check_types
from ..core import UserError
from ..models.backbones import SwinTransformer
from ..transfer.network_settings import check_method, norm_eps, num_heads

OURS = {'vit': 'VisionTransformer', 'cvt': 'CvT', 'vil': 'ViL', 'swin': 'SwinTransformer'}


def run_converter(description: str | None, argv: Sequence[str] | None, target: str | None) -> None:
    """Read the options of a converter and run it.

    With ``target`` None the user names the library, and any file is taken instead of one of a
    self-supervised method.
    """
    parser = argparse.ArgumentParser(description=description)
    source = 'any checkpoint' if target is None else 'pretraining file'
    parser.add_argument('src', help=f'{source}, or its address')
    parser.add_argument('dst', help='file to write')
    if target is None:
        parser.add_argument('--to', choices=TARGETS, default='mmssl', help='whose names it gets')
        parser.set_defaults(selfsup=None)
    else:
        parser.add_argument('--selfsup', choices=METHODS, help='method; found out when left out')
        parser.set_defaults(to=target)
    parser.add_argument('--branch', choices=['export', 'student', 'teacher'], default='export')
    args = parser.parse_args(argv)
    convert(args.src, args.dst, args.to, args.selfsup, args.branch)


def convert(
    source: str, output: str, target: str, method: str | None = None, branch: str = 'export'
) -> None:
    """Write ``source``'s backbone for ``target`` and print the lines that use it.

    Raises UserError when the file is of another method or kind, holds a part of a network, or
    when the target has no such network.
    """
    found = network(source, branch=branch)
    check_method(found.layout, source, method)
    written = export(found.state, target)
    notes = found.notes + written.notes
    if family(found.state) == 'swin' and target != 'mmssl':
        check_whole_swin(found.state, source, target)
        notes = notes + swin_differences(found, target)
    save.write({'state_dict': written.state}, Path(output))
    print(f'{source}: {found.layout} file, {found.branch} branch')
    print(f'{output}: {len(written.state)} tensors for {target}; heads are left out')
    for note in notes:
        print(f'note: {note}')
    print(usage_lines(found, target, output))


# what to paste ------------------------------------------------------------------------------------
def usage_lines(found: Network, target: str, output: str) -> str:
    """Return the config lines (mmdet, mmseg, mmssl) or the Python line that use the file."""
    if target in ('timm', 'torchvision', 'dinov2', 'dinov3'):
        read = (
            f'safetensors.torch.load_file({output!r})'
            if output.endswith('.safetensors')
            else f"torch.load({output!r}, weights_only=True)['state_dict']"
        )
        return f'net.load_state_dict({read}, strict=False)  # the classifier stays new'
    settings = _config_settings(found, target)
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=output)
    text = ''.join(f'    {name}={_literal(value)}\n' for name, value in settings.items())
    head = ''
    if str(settings.get('type', '')).startswith('mmssl.'):
        head = "custom_imports = dict(imports=['mmssl.models'], allow_failed_imports=False)\n"
    return f'{head}backbone=dict(\n{text})'


def _config_settings(found: Network, target: str) -> dict[str, Any]:
    """Return the settings of a backbone in a config of mmdet, mmseg or mmssl."""
    kind = family(found.state)
    size = sizes(found.state)
    if target == 'mmssl' or kind in ('cvt', 'vil') or (kind == 'vit' and target == 'mmdet'):
        return _ours(found, kind, size)
    if kind == 'resnet':
        settings: dict[str, Any] = {'depth': size['depth'], 'init_cfg': None}
        if size['width'] != 64:
            settings |= {'base_channels': size['width'], 'stem_channels': size['width']}
        if target == 'mmdet':  # whose configs keep the norms of a supervised network as they are
            settings |= dict(frozen_stages=0, norm_eval=False)
            settings['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
        return settings
    settings = _swin(size) if kind == 'swin' else _vit(found, size)
    if norm_eps(found) != 1e-5:
        settings['norm_cfg'] = dict(type='LN', eps=norm_eps(found))
    return settings


def _literal(value: Any) -> str:
    """Return a setting as Python text, with a comment where the file does not tell it."""
    if isinstance(value, dict):
        return f'dict({", ".join(f"{k}={v!r}" for k, v in value.items())}),'
    text = f'{value!r},'
    if value is None or (isinstance(value, tuple) and None in value):
        text += '  # the file does not tell: as in pretraining'
    return text


def _swin(size: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of mmdet's and mmseg's Swin."""
    settings = dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=size['width'],
        depths=size['depths'],
        num_heads=size['heads'],
        window_size=max(size['windows']),
        mlp_ratio=size['mlp_ratio'],
    )
    patch = size['patch_size']
    if patch != 4:
        settings |= dict(patch_size=patch, strides=(patch, 2, 2, 2))
    return settings


def _vit(found: Network, size: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of mmseg's ViT."""
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
    """Return the settings of our own backbone: the file's, or what its tensors tell."""
    if not found.settings and (kind == 'other' or additions(found.state)):
        return {'_delete_': True, 'type': 'mmssl.TimmBackbone', 'name': None}
    check_types(found.settings, 'the file', 'describe its network in a config of yours')
    settings = {'_delete_': True, 'type': OURS.get(kind, 'ResNet'), **found.settings}
    settings['type'] = f'mmssl.{settings["type"].removeprefix("mmssl.")}'
    if not found.settings:
        if kind == 'vit':
            own = vit_settings(found.state, num_heads(found), norm_eps(found))
            settings |= {key: value for key, value in own.items() if key != 'type'}
        if kind == 'swin':
            settings['arch'] = (size['width'], size['depths'], size['heads'])
            settings['window_size'] = max(size['windows'])
            settings['norm_eps'] = norm_eps(found)
        if kind == 'resnet':
            settings['layers'] = size['layers']
            settings['width'] = size['width']
    return {k: v for k, v in settings.items() if k not in ('init_cfg', 'mask_token')}


# what differs -------------------------------------------------------------------------------------
def swin_differences(found: Network, target: str) -> list[str]:
    """Return how the Swin of another library differs in its results, one sentence each."""
    eps = norm_eps(found)
    notes = []
    if eps != 1e-5:
        how = 'the norm_cfg below keeps it' if target.startswith('mm') else 'pass your own norm'
        notes.append(
            f'layer norms have epsilon {eps:g}, {target} 1e-05 unless told otherwise ({how})'
        )
    if target.startswith('mm') and sizes(found.state)['depths'][-1] > 1:
        notes.append(
            f'{target} shifts the windows of odd blocks where the map is one window, pretraining '
            'did not: the last stage differs at the size of pretraining'
        )
    return notes


def check_whole_swin(state: dict[str, Tensor], source: str, target: str) -> None:
    """Check that tensors of ``source`` (by name, any shapes) are those of a Swin, of its shapes.

    mmdet and mmseg have no last norm. Raises UserError when some are missing, left over or of
    another shape.
    """
    size = sizes(state)
    try:
        with torch.device('meta'), warnings.catch_warnings():  # sizes of a file take no memory
            warnings.simplefilter('ignore')  # that nothing is copied
            net = SwinTransformer(
                (size['width'], size['depths'], size['heads']),
                img_size=size['windows'][-1] * size['patch_size'] * 2 ** (len(size['depths']) - 1),
                patch_size=size['patch_size'],
                window_size=max(size['windows']),
                mlp_ratio=size['mlp_ratio'],
            )
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError) as error:
        reason = ' '.join(str(error).split())
        raise UserError(
            f'{source}: holds no whole Swin: {reason}', key='file', value=source
        ) from None
    wanted = net.state_dict()
    if target.startswith('mm'):
        wanted = {key: value for key, value in wanted.items() if key not in LAST_NORM}
    _, found = compare(state, wanted)
    if found:
        raise UserError(
            f'{source}: holds no whole Swin: {describe(found, state, wanted)}; give the whole file',
            key='file',
            value=source,
        )
