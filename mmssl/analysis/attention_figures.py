"""Figures of attention: a map for each head, and the entropy of each block."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from ..reports.figures import BLUE, INK, hide_axes, png, style_axes
from .attention import Query

PANEL = 1.35  # inches
COLUMNS = 6
HEAT = colormaps['inferno'].with_extremes(bad='#d8dee5')
MARK = '#00d5ff'


def draw_heads(view: Tensor, maps: Tensor, kept: Tensor, entropy: Tensor, query: Query) -> bytes:
    """Draw a view (3, H, W) and each head's map (M, h, w), largest entropy first -> PNG.

    Above the map, each on a scale of its own and grey outside its window; below it the
    view, dark outside of ``kept`` (M, h, w). ``entropy`` (M,) is that of each head.
    """
    order = entropy.argsort(descending=True).tolist()
    columns = min(len(order), COLUMNS)
    rows = math.ceil(len(order) / columns)
    size = ((columns + 2.1) * PANEL, rows * (2 * PANEL + 0.26))
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, dpi=150, layout=tight)
    grid = figure.add_gridspec(2 * rows, columns + 2)
    pixels = view.permute(1, 2, 0).cpu().numpy()
    whole = figure.add_subplot(grid[:2, :2], anchor='N')
    whole.imshow(pixels)
    hide_axes(whole, f'asked: {query_name(query)}')
    for i, head in enumerate(order):
        at = 2 * (i // columns), 2 + i % columns
        above, below = (figure.add_subplot(grid[at[0] + k, at[1]]) for k in (0, 1))
        extent = (0, pixels.shape[1], pixels.shape[0], 0)
        above.imshow(maps[head].cpu().numpy(), cmap=HEAT, vmin=0, extent=extent)
        hide_axes(above, f'head {head} · {entropy[head]:.2f}')
        below.imshow(darkened(pixels, kept[head].cpu().numpy()))
        hide_axes(below)
        if not isinstance(query, str):
            _mark(above, query, maps.shape[1:], pixels.shape)
    if not isinstance(query, str):
        _mark(whole, query, maps.shape[1:], pixels.shape)
    return png(figure)


def query_name(query: Query) -> str:
    """Return whose attention a query is, in words."""
    names = {'cls': 'the class token', 'mean': 'all patches, mean'}
    return names[query] if isinstance(query, str) else f'the patch at {query[0]}, {query[1]}'


def _mark(axes: Any, query: tuple[int, int], grid: Sequence[int], size: Sequence[int]) -> None:
    high, wide = size[0] / grid[0], size[1] / grid[1]
    corner = (query[1] * wide, query[0] * high)
    axes.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=MARK, lw=1.6))


def darkened(pixels: NDArray[Any], kept: NDArray[Any]) -> NDArray[Any]:
    """Return uint8 pixels (H, W, 3), a quarter as bright where the mask (h, w) is False."""
    rows, columns = (
        np.arange(side) * cells // side
        for side, cells in zip(pixels.shape[:2], kept.shape, strict=True)
    )
    return np.where(kept[rows][:, columns, None], pixels, pixels // 4)


def draw_entropies(entropy: Sequence[Tensor], keys: Sequence[int]) -> bytes:
    """Draw each block's entropy by head (M,), below that of even attention, ln keys -> PNG."""
    figure = Figure(figsize=(7.2, 3.2), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    for block, values in enumerate(entropy):
        axes.scatter([block] * len(values), values.tolist(), s=16, color=BLUE, alpha=0.7, lw=0)
    even = [math.log(k) for k in keys]
    axes.step(
        [-0.5, *(i + 0.5 for i in range(len(even)))],
        [even[0], *even],
        color=INK,
        lw=1,
        ls=(0, (4, 3)),
    )
    axes.annotate(
        'even attention', (len(even) - 0.5, even[-1]), (0, 4), textcoords='offset points',
        ha='right', fontsize=9.5, color=INK,
    )  # fmt: skip
    axes.set_title('Entropy of attention, a dot a head', loc='left', fontsize=11.5, color=INK)
    axes.set_xlabel('block', fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True))
    axes.set_ylim(0, 1.15 * max(even))
    style_axes(axes)
    return png(figure)
