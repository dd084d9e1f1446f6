"""A backbone out of any checkpoint, under the names of another library."""

from pathlib import Path
from typing import Any, NamedTuple

from ..core import UserError
from . import kinds
from .convert import arrange, exported
from .dialects import DIALECTS, State, detect
from .fetch import local_path
from .reader import read
from .sizes import family, position_index, resize_table, sizes

# target -> family of networks -> the layout that is written
TARGETS: dict[str, dict[str, str]] = {
    'mmssl': dict.fromkeys(('resnet', 'vit', 'swin', 'cvt', 'vil', 'other'), 'mmssl'),
    'torchvision': {'resnet': 'torchvision'},
    'timm': {'resnet': 'torchvision', 'vit': 'timm', 'swin': 'timm', 'other': 'timm'},
    # a ViT, CvT or ViL in mmdet is ours
    'mmdet': {'resnet': 'torchvision', 'swin': 'mmdet', 'vit': 'mmssl'}
    | dict.fromkeys(('cvt', 'vil'), 'mmssl'),
    'mmseg': {'resnet': 'torchvision', 'swin': 'mmdet', 'vit': 'mmseg'}
    | dict.fromkeys(('cvt', 'vil'), 'mmssl'),
}


class Network(NamedTuple):
    """A backbone's tensors (``net.*``), the layout and side they come from, and its settings."""

    state: State
    dialect: str
    side: str
    settings: dict[str, Any]  # of our own training files, else empty


class Exported(NamedTuple):
    """Tensors by foreign name, and what a user must know of them."""

    state: State
    notes: list[str]


def network(path: str | Path, dialect: str = 'auto', side: str = 'export') -> Network:
    """Take one backbone out of a file of any layout; heads stay behind."""
    path = local_path(path)
    content = read(path)
    if dialect == 'auto':
        kinds.refuse_other_tasks(content, str(path))
    spoken, foreign = detect(content, str(path), dialect)
    ours, _ = spoken.translate(foreign)
    names, taken = arrange(ours, (), exported(spoken, content, ours), side)
    if not names:
        kinds.check(content, spoken, foreign, ours, str(path))
    meta: Any = content.get('meta') if spoken.name == 'mmssl' else None
    for entry in ('settings', 'model', 'backbone'):
        meta = meta.get(entry) if isinstance(meta, dict) else None
    settings = dict(meta) if isinstance(meta, dict) else {}
    return Network({k: ours[v] for k, v in names.items()}, spoken.name, taken, settings)


def export(state: State, target: str) -> Exported:
    """Rename a backbone's tensors (``net.*``) for torchvision, timm, mmdet, mmseg or mmssl.

    Raises UserError where the target has no such network.
    """
    if target not in TARGETS:
        raise UserError(f"target '{target}' is unknown; use one of {', '.join(TARGETS)}")
    kind = family(state)
    layout = TARGETS[target].get(kind)
    if layout is None:
        raise UserError(f'{target} has no network of this kind ({kind}); use {_others(kind)}')
    _refuse_variants(state, kind, layout, target)
    notes = []
    if 'mask_token' in state and layout != 'mmssl':
        notes.append('the mask token is left out: masks belong to pretraining')
    if layout == 'mmdet':
        state, notes = _one_window(state, notes)
    if layout == 'mmssl':
        return Exported(dict(state), notes)
    foreign = DIALECTS[layout].restore({f'backbone.{key}': value for key, value in state.items()})
    if layout == 'mmdet':
        foreign |= _indices(foreign)
        if target == 'mmdet':  # its Swin looks for names that begin so, and fails without
            foreign = {f'backbone.{key}': value for key, value in foreign.items()}
    return Exported({key: value.contiguous() for key, value in foreign.items()}, notes)


def _others(kind: str) -> str:
    return ', '.join(target for target, kinds in TARGETS.items() if kind in kinds)


def _refuse_variants(state: State, kind: str, layout: str, target: str) -> None:
    """Refuse networks that the target would fill with wrong or random numbers."""
    if layout == 'mmssl':
        return
    found = sizes(state)
    if found.get('small_stem') and target != 'timm':
        raise UserError(f"{target}'s ResNet has a 7x7 stem, this network a 3x3 one")
    if found.get('stem') == 'conv':
        raise UserError(f"{target}'s ViT has no convolutional stem")
    if any('norm2.running_mean' in key for key in state) and kind == 'swin':
        raise UserError(f"{target}'s Swin has no batch norm before its MLPs")
    if 'absolute_pos_embed' in state:
        raise UserError(f"{target}'s Swin cannot load absolute positions")


def _one_window(state: State, notes: list[str]) -> tuple[State, list[str]]:
    """Bring all stages of Swin to one window, which mmdet and mmseg have."""
    windows = sizes(state)['windows']
    window, state = max(windows), dict(state)
    for i, small in enumerate(windows):
        if small == window:
            continue
        notes.append(
            f'stage {i + 1} has windows of {small}, mmdet and mmseg one size for all: its '
            f'position biases are resized to {window}, which is not the same network'
        )
        for key in state:
            if key.startswith(f'net.layers.{i}.') and key.endswith('relative_position_bias_table'):
                state[key] = resize_table(state[key], window)
    return state, notes


def _indices(foreign: State) -> State:
    """Return the index buffers that mmdet and mmseg store beside each table."""
    table = 'relative_position_bias_table'
    return {
        key.replace(table, 'relative_position_index'): position_index(
            (int(len(value) ** 0.5) + 1) // 2
        )
        for key, value in foreign.items()
        if key.endswith(table)
    }
