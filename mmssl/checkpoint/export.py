"""Take a backbone out of any checkpoint, and rename it for another library."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.layers import gen_relative_position_index

from ..core import UserError
from . import file_kinds
from .architecture import additions, family, leftovers, sizes
from .fetch.fetch import local_path
from .fit import some
from .hyperparameters import backbone_settings
from .layouts import LAYOUTS, State, detect
from .load import exported
from .matching import match_branches
from .reader.read_file import read
from .resize import resize_table, window_size

TABLE = 'relative_position_bias_table'  # how a name of Swin's position biases ends
INDICES = 1 << 30  # bytes of position indices that a file gets; Swin-L of windows of 24: 64 million
# target -> family of networks -> the layout that is written
TARGETS: dict[str, dict[str, str]] = {
    'mmssl': dict.fromkeys(('resnet', 'vit', 'swin', 'cvt', 'vil', 'other'), 'mmssl'),
    'torchvision': {'resnet': 'torchvision'},
    'timm': {'resnet': 'torchvision', 'vit': 'timm', 'swin': 'timm', 'other': 'timm'},
    'dinov2': {'vit': 'dinov2'},
    'dinov3': {'vit': 'dinov3'},
    # a ViT, CvT or ViL in mmdet is ours
    'mmdet': {'resnet': 'torchvision', 'swin': 'mmdet', 'vit': 'mmssl'}
    | dict.fromkeys(('cvt', 'vil'), 'mmssl'),
    'mmseg': {'resnet': 'torchvision', 'swin': 'mmdet', 'vit': 'mmseg'}
    | dict.fromkeys(('cvt', 'vil'), 'mmssl'),
}


class Network(NamedTuple):
    """A backbone's tensors (``net.*``), the layout and branch they come from, and its settings."""

    state: State
    layout: str
    branch: str
    settings: dict[str, Any]  # of our own training files, else empty
    notes: list[str]  # on what the file holds beside it


class Exported(NamedTuple):
    """Tensors by the target's names, and notes on how they differ from the network's own."""

    state: State
    notes: list[str]


def network(path: str | Path, layout: str = 'auto', branch: str = 'export') -> Network:
    """Take one backbone out of a file of any layout; heads are left out.

    ``branch``: 'student', 'teacher', or 'export' for the one meant for downstream use. Counters of
    batch norms that the file lacks are zero. Raises UserError when the file has no such branch, no
    backbone, a part of one, or is of another kind.
    """
    path = local_path(path)
    content, note = file_kinds.backbone_of_task(read(path), str(path))
    notes = [note] if note else []
    file_layout, foreign = detect(content, str(path), layout)
    ours, _ = file_layout.translate(foreign)
    names, taken = match_branches(ours, (), exported(file_layout, content, ours), branch)
    if not names:
        file_kinds.check_pretraining(content, file_layout, foreign, ours, str(path))
    state = {k: ours[v] for k, v in names.items()}
    if beside := leftovers(state):
        notes.append(f'{len(beside)} tensors beside the network are left out ({some(beside)})')
        state = {key: value for key, value in state.items() if key not in beside}
    try:
        sizes(state)
    except UserError as error:
        raise UserError(f'{path}: {error}', key='file', value=str(path)) from None
    settings = backbone_settings(content) if file_layout.name == 'mmssl' else {}
    return Network(with_counters(state), file_layout.name, taken, settings, notes)


def with_counters(state: State) -> State:
    """Return tensors (any shapes) with the counters that files of before torch 0.4.1 lack.

    They are the ``num_batches_tracked`` () of batch norms.
    """
    complete = dict(state)
    for key in state:
        name, found, _ = key.rpartition('running_mean')
        if found:
            complete.setdefault(f'{name}num_batches_tracked', torch.tensor(0))
    return complete


def export(state: State, target: str) -> Exported:
    """Rename a backbone's tensors (``net.*``) for torchvision, timm, mmdet, mmseg or mmssl.

    And for the official DINOv2 and DINOv3. Shapes stay, but for what a library keeps as several
    tensors or one (`layouts.dinov2`), and Swin's position biases (n*n, heads), which mmdet and
    mmseg have of one window size only. Raises UserError when the target is unknown, has no such
    network, or would fill it with wrong or random numbers.
    """
    if target not in TARGETS:
        raise UserError(
            f"target '{target}' is unknown; use one of {', '.join(TARGETS)}",
            key='target',
            value=target,
        )
    kind = family(state)
    if reason := unfit(state, target):
        raise UserError(
            f'target {target} does not fit: {reason}; use one of {_others(state)}',
            key='target',
            value=target,
        )
    layout = TARGETS[target][kind]
    notes: list[str] = []
    if layout == 'timm' and kind == 'vit' and 'net.pos_embed' not in state:
        layout = 'timm_dinov3'
    if 'mask_token' in state and layout not in ('mmssl', 'dinov2', 'dinov3'):
        notes.append('the mask token is left out: masks belong to pretraining')
        state = {key: value for key, value in state.items() if key != 'mask_token'}
    if layout == 'mmdet':
        state, notes = _one_window(state, notes)
    if layout == 'mmssl':
        return Exported(dict(state), notes)
    foreign = LAYOUTS[layout].restore({f'backbone.{key}': value for key, value in state.items()})
    if layout == 'mmdet':
        foreign |= _position_indices(foreign)
        if target == 'mmdet':  # its Swin looks for names that begin so, and fails without
            foreign = {f'backbone.{key}': value for key, value in foreign.items()}
    return Exported({key: value.contiguous() for key, value in foreign.items()}, notes)


def _others(state: State) -> str:
    """Return the targets that have the network of a backbone's tensors, in words."""
    return ', '.join(target for target in TARGETS if not unfit(state, target))


def unfit(state: State, target: str) -> str:
    """Return why a library would fill its network with wrong or random numbers, '' if it would not.

    ``state`` are a backbone's tensors (any shapes), ``target`` one of `TARGETS`.
    """
    kind = family(state)
    layout = TARGETS[target].get(kind)
    if layout is None:
        return f'it has no network of this kind ({kind})'
    if target not in ('mmssl', 'timm') and (more := additions(state)):
        return f'its {kind} has no {more[0].removeprefix("net.")}'
    return '' if layout == 'mmssl' else _lacks(state, kind, target)


def _lacks(state: State, kind: str, target: str) -> str:
    """Return what another library's network of this kind does not have, '' if all is there."""
    found = sizes(state)
    if kind == 'vit' and (reason := _vit_lacks(found, target)):
        return reason
    if found.get('small_stem') and target != 'timm':
        return 'its ResNet has a 7x7 stem, this network a 3x3 one'
    if found.get('stem') == 'conv':
        return 'its ViT has no convolutional stem'
    if kind == 'swin' and any('norm2.running_mean' in key for key in state):
        return 'its Swin has no batch norm before the MLPs'
    if 'absolute_pos_embed' in state:
        return 'its Swin has no absolute positions'
    return ''


def _vit_lacks(found: dict[str, Any], target: str) -> str:
    """Return what another library's ViT does not have of one of these sizes, '' if all is there."""
    rotary = found['positions'] == 'rotary'
    if target == 'mmseg':
        for key in ('registers', 'layer_scale'):
            if found[key]:
                return f'its ViT has no {key}'
        if rotary or found['mlp'] == 'swiglu' or not found['qkv_bias']:
            return 'its ViT has learned positions, biases and an MLP of GELU'
    biases = found['key_bias'] and found['qkv_bias']
    if target == 'dinov2' and (rotary or not biases or not found['layer_scale']):
        return 'its ViT has learned positions, biases of keys, and LayerScale'
    if target == 'dinov3' and not rotary:
        return 'its ViT has rotary positions'
    return ''


def _one_window(state: State, notes: list[str]) -> tuple[State, list[str]]:
    """Bring all stages of Swin to one window, which mmdet and mmseg have."""
    windows = sizes(state)['windows']
    window = max(windows)
    resized = dict(state)
    for i, small in enumerate(windows):
        if small == window:
            continue
        notes.append(
            f'stage {i + 1} has windows of {small}, mmdet and mmseg one size for all: its '
            f'position biases are resized to {window}, which is not the same network'
        )
        for key in state:
            if key.startswith(f'net.layers.{i}.') and key.endswith(TABLE):
                resized[key] = resize_table(state[key], window)
    return resized, notes


def _position_indices(foreign: State) -> State:
    """Return the index buffers (w*w, w*w) that mmdet and mmseg store beside each table.

    Raises UserError where they would take more than `INDICES` bytes.
    """
    indices = {}
    windows = {key: window_size(table) for key, table in foreign.items() if key.endswith(TABLE)}
    needed = sum(8 * window**4 for window in windows.values())
    if needed > INDICES:
        raise UserError(
            f'state: tables of position indices for {len(windows)} blocks of windows up to '
            f'{max(windows.values())} take {needed >> 20} MB, and a file gets at most '
            f'{INDICES >> 20}; use target mmssl or timm, which store none',
            key='state',
            value=max(windows.values()),
        )
    for key, window in windows.items():
        name = key.replace(TABLE, 'relative_position_index')
        indices[name] = gen_relative_position_index((window, window))
    return indices
