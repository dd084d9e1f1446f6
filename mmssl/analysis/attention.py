"""Attention maps of one transformer block, on the grid of its patches.

Legend: B images, W windows, M heads, n queries and m keys of a window, (h, w) the block's grid.
"""

from functools import singledispatch
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError
from ..models.backbones import Backbone, CvT, SwinTransformer, ViL
from ..models.backbones.cvt import WindowAttention
from ..models.backbones.vil_attention import SlidingAttention

Query = str | tuple[int, int]  # 'cls', 'mean' or (row, column)


class Attention(NamedTuple):
    """Softmax weights and the patches they belong to.

    weights (B, W, M, n, m); queries (W, n) and keys (W, m) are places in the grid, row by row,
    -1 for what is no patch (class and global tokens, padding); ``cls``: the first query is the
    class token.
    """

    weights: Tensor
    queries: Tensor
    keys: Tensor
    grid: tuple[int, int]
    cls: bool


@torch.no_grad()
def block_attention(backbone: Backbone, x: Tensor, block: int = -1) -> Attention:
    """Return the attention of ``block``, counted over all stages, for x (B, 3, H, W).

    Raises UserError where the network has none, or no such block.
    """
    weights = backbone.attention(x, block).double()
    block %= len(backbone.attention_layers())
    tokens = next(islice(backbone.iter_blocks(x[:1]), block, None))
    grid = (tokens.grid.shape[1], tokens.grid.shape[2])
    if weights.dim() == 4:  # all tokens see each other
        extra = weights.shape[-1] - grid[0] * grid[1]
        at = F.pad(_numbers(grid).flatten(), (extra, 0), value=-1)[None].to(x.device)
        return Attention(weights[:, None], at, at, grid, extra > 0)
    queries, keys = (at.to(x.device) for at in window_patches(backbone, block, grid))
    return Attention(weights, queries, keys, grid, False)


def _numbers(grid: tuple[int, int]) -> Tensor:
    return torch.arange(grid[0] * grid[1]).view(grid)


def split_windows(numbers: Tensor, window: tuple[int, int]) -> Tensor:
    """Numbers of patches (h, w) -> of windows (W, n), row by row; padding at the end is -1."""
    h, w = numbers.shape
    a, b = window
    numbers = F.pad(numbers, (0, -w % b, 0, -h % a), value=-1)
    parts = numbers.unflatten(1, (-1, b)).unflatten(0, (-1, a))  # (rows, a, columns, b)
    found: Tensor = parts.transpose(1, 2).reshape(-1, a * b)
    return found


@singledispatch
def window_patches(backbone: Backbone, block: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the patches (W, n) and (W, m) that queries and keys of a windowed block are.

    Register a backbone family of your own here. Raises UserError for an unknown one.
    """
    kind = type(backbone).__name__
    raise UserError(
        f'backbone {kind}: the places of its windows are unknown; register them for window_patches',
        key='backbone',
        value=kind,
    )


@window_patches.register
def _(backbone: SwinTransformer, block: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    swin = [b for stage in backbone.net.layers for b in stage.blocks][block]
    a, b = swin.window_size
    h, w = grid
    padded = F.pad(_numbers(grid), (0, -w % b, 0, -h % a), value=-1)
    at = split_windows(padded.roll((-swin.shift_size[0], -swin.shift_size[1]), (0, 1)), (a, b))
    return at, at


@window_patches.register
def _(backbone: CvT, block: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    layer = backbone.attention_layers()[block]
    assert isinstance(layer, WindowAttention)
    side = min(layer.window, *grid)
    at = split_windows(_numbers(grid), (side, side))
    return at, at


@window_patches.register
def _(backbone: ViL, block: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    layer = backbone.attention_layers()[block]
    assert isinstance(layer, SlidingAttention)
    w = layer.window
    margin = (w, w + -grid[1] % w, w, w + -grid[0] % w)
    around = F.pad(_numbers(grid), margin, value=-1)
    rows, columns = -(-grid[0] // w), -(-grid[1] // w)
    chunks = split_windows(around, (w, w)).unflatten(0, (rows + 2, columns + 2))
    keys = [
        chunks[1 + i : 1 + i + rows, 1 + j : 1 + j + columns].flatten(0, 1)
        for i, j in layer.neighbours()
    ]
    return keys[0], F.pad(torch.cat(keys, 1), (layer.tokens, 0), value=-1)


# maps and entropy -------------------------------------------------------------------------------
def attention_maps(found: Attention, query: Query = 'mean') -> Tensor:
    """Return each head's attention to the patches (B, M, h, w), without what goes to other tokens.

    ``query`` is 'cls' (from the class token), 'mean' (what a patch gets from all patches, on
    average) or the (row, column) of one patch; its map is nan outside its window.
    Raises UserError for another query, and for 'cls' where the block has no class token.
    """
    h, w = found.grid
    if query == 'cls':
        if not found.cls:
            raise UserError(
                "query 'cls': this block has no class token; use 'mean' or a patch",
                key='query',
                value=query,
            )
        seen = _add_on_grid(found.weights[:, 0, :, 0], found.keys[0], h * w)
        return _on_grid(seen, h, w)
    real = found.queries >= 0  # (W, n)
    if query == 'mean':
        weights = (found.weights * real[:, None, :, None]).sum(-2)  # (B, W, M, m)
        each = weights.transpose(1, 2).flatten(2)  # (B, M, W*m)
        return _on_grid(_add_on_grid(each, found.keys.flatten(), h * w), h, w) / (h * w)
    if isinstance(query, str):
        raise UserError(
            f"query '{query}' is unknown; use cls, mean or ROW,COLUMN", key='query', value=query
        )
    row, column = query
    if not (0 <= row < h and 0 <= column < w):
        raise UserError(
            f'query {row},{column}: the block has {h} x {w} patches, counted from 0',
            key='query',
            value=query,
        )
    window, n = (found.queries == row * w + column).nonzero()[0].tolist()
    keys = found.keys[window]
    seen = _add_on_grid(torch.ones_like(keys, dtype=torch.float64), keys, h * w)
    one = _add_on_grid(found.weights[:, window, :, n], keys, h * w)
    return _on_grid(one.masked_fill(seen == 0, float('nan')), h, w)


def _on_grid(values: Tensor, h: int, w: int) -> Tensor:
    """Arrange values (..., h*w) as (..., h, w)."""
    return values.reshape(*values.shape[:-1], h, w)


def _add_on_grid(weights: Tensor, keys: Tensor, count: int) -> Tensor:
    """Add weights (..., k) of keys (k) up on the grid (..., count); -1 falls off."""
    grid = weights.new_zeros(*weights.shape[:-1], count + 1)
    return grid.index_add_(-1, torch.where(keys < 0, count, keys), weights)[..., :count]


def mass_mask(weights: Tensor, share: float) -> Tensor:
    """Mark the fewest places (..., N) that together hold more than ``share`` of a map's weight.

    EsViT's and DINO's mask: sorted upwards, those whose running sum passes 1 - share; nan counts
    as nothing. Raises UserError for a share outside of (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(
            f'mass {share:g}: give a share above 0 and at most 1', key='mass', value=share
        )
    order = weights.nan_to_num(0.0).double().sort(-1)
    sums = order.values.cumsum(-1)
    kept = sums > (1 - share) * sums[..., -1:]
    return torch.zeros_like(kept).scatter(-1, order.indices, kept)


def entropy(found: Attention) -> Tensor:
    """Return the mean entropy (B, M), in nats, of the patches' attention.

    It is ln m where a patch attends to all of its m keys alike.
    """
    each = torch.special.entr(found.weights).sum(-1)  # (B, W, M, n)
    real = found.queries >= 0
    result: Tensor = (each * real[:, None]).sum((1, 3)) / real.sum()
    return result
