"""What the shapes of a backbone's tensors tell about its network."""

import math
import re
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError

State = dict[str, Tensor]
DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
SIGNS = {
    'swin': r'net\.layers\.0\.blocks\.0\.attn\.relative_position_bias_table',
    'vit': r'net\.blocks\.0\.attn\.qkv\.weight',
    'resnet': r'net\.layer1\.0\.conv1\.weight',
    'cvt': r'net\.stage0\.0\.proj\.weight',
    'vil': r'net\.layer1\.0\.proj\.weight',
}


def family(state: State) -> str:
    """Return 'swin', 'vit', 'resnet', 'cvt', 'vil' or 'other' for names of a backbone."""
    for name, sign in SIGNS.items():
        if any(re.match(sign, key) for key in state):
            return name
    return 'other'


def count(state: State, pattern: str) -> int:
    """Return how many numbers occur at the group of a pattern."""
    return len({m[1] for key in state if (m := re.match(pattern, key))})


def sizes(state: State) -> dict[str, Any]:
    """Return the sizes of a network by the argument names of our backbones.

    ViT's heads are not in its tensors; ``window_size`` of Swin has one entry a stage.
    """
    measure = {'swin': _swin, 'vit': _vit, 'resnet': _resnet}.get(family(state))
    try:
        return measure(state) if measure else {}
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise UserError(f'the file holds a part of a {family(state)} only: {error}') from None


def _swin(state: State) -> dict[str, Any]:
    stages = range(count(state, r'net\.layers\.(\d+)\.blocks\.'))
    tables = [state[f'net.layers.{i}.blocks.0.attn.relative_position_bias_table'] for i in stages]
    patch = state['net.patch_embed.proj.weight']
    return dict(
        width=patch.shape[0],
        depths=tuple(count(state, rf'net\.layers\.{i}\.blocks\.(\d+)\.') for i in stages),
        heads=tuple(table.shape[1] for table in tables),
        windows=tuple((math.isqrt(len(table)) + 1) // 2 for table in tables),
        patch_size=patch.shape[-1],
        mlp_ratio=len(state['net.layers.0.blocks.0.mlp.fc1.weight']) // patch.shape[0],
    )


def _vit(state: State) -> dict[str, Any]:
    width = state['net.cls_token'].shape[-1]
    side = math.isqrt(state['net.pos_embed'].shape[1] - 1)
    proj = state.get('net.patch_embed.proj.weight')
    patch = 16 if proj is None else proj.shape[-1]
    return dict(
        width=width,
        depth=count(state, r'net\.blocks\.(\d+)\.'),
        img_size=side * patch,
        patch_size=patch,
        stem='conv' if proj is None else 'patch',
        mlp_ratio=len(state['net.blocks.0.mlp.fc1.weight']) // width,
    )


def _resnet(state: State) -> dict[str, Any]:
    layers = tuple(count(state, rf'net\.layer{i}\.(\d+)\.') for i in range(1, 5))
    deep = 'net.layer1.0.conv3.weight' in state
    return dict(
        depth=DEPTHS.get((deep, layers)),
        layers=layers,
        width=len(state['net.conv1.weight']),
        small_stem=state['net.conv1.weight'].shape[-1] == 3,
    )


def position_index(window: int) -> Tensor:
    """Row of the bias table for each (query, key) in a window -> (w*w, w*w)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')
    y, x = y.flatten(), x.flatten()  # (w*w)
    rows = y[:, None] - y[None] + window - 1
    columns = x[:, None] - x[None] + window - 1
    return rows * (2 * window - 1) + columns


def resize_table(table: Tensor, window: int) -> Tensor:
    """Resize position biases (n*n, heads) bicubically for another window, as EsViT does."""
    side, wanted = math.isqrt(len(table)), 2 * window - 1
    if side * side != len(table):
        raise UserError(f'a table of {len(table)} position biases fits no square window')
    image = table.T.reshape(1, -1, side, side)  # (1, heads, n, n)
    image = F.interpolate(image, size=(wanted, wanted), mode='bicubic')
    return image.flatten(2)[0].T.contiguous()  # (wanted**2, heads)
