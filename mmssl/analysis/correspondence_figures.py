"""Figures of correspondence: lines between matched regions of two images."""

from typing import Any, NamedTuple

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from ..reports.figures import INK, hide_axes, png
from .correspondence import COUNT, centres, match, true_places
from .sheets import RIGHT, WRONG

GAP = 0.06  # between the images, in sides
BEND = 0.06  # of a line at its middle, in lengths


class Pairs(NamedTuple):
    """Centres in shares of a side: one and two (K, 2), the most similar first.

    right: whether each is at most a cell from the truth, None where that is not known (another
    image) or not in the view.
    """

    one: Tensor
    two: Tensor
    right: list[bool | None]


def best_pairs(
    one: Tensor,
    two: Tensor,
    grid: tuple[int, int],
    truth: tuple[Any, ...] | None = None,
    count: int = COUNT,
) -> Pairs:
    """Pair the ``count`` most similar of regions (N, C) with their match among (N, C).

    ``truth`` (box, flip) says what of the first view the second shows, in shares of a side.
    """
    found = match(one, two)
    best = found.order[:count]
    places = centres(grid, (1 / grid[1], 1 / grid[0])).to(one.device)  # (N, 2)
    first, second = places[best], places[found.at[best]]
    right: list[bool | None] = [None] * len(best)
    if truth is not None:
        off = (true_places(first, *truth) - second).abs()
        near = (off * off.new_tensor([grid[1], grid[0]])).amax(1)  # in cells; nan is outside
        right = [None if cells != cells else cells <= 1 for cells in near.tolist()]
    return Pairs(first.cpu(), second.cpu(), right)


def summary_region(pooled: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the centre (2,) of the region (N, C) most alike to a pooled feature (C,)."""
    at = F.cosine_similarity(tokens, pooled[None]).argmax().item()
    return centres(grid, (1 / grid[1], 1 / grid[0]))[int(at)]


def curved_line(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y (P,) of a line from a place (2,) left to one (2,) right, bent to the middle.

    Regions stand in rows, and straight lines between places of one row would cover each other.
    """
    t = torch.linspace(0, 1, 33, dtype=a.dtype)
    x = a[0] + (b[0] + 1 + GAP - a[0]) * t
    bend = BEND * (x[-1] - x[0]) * (1 if a[1] + b[1] < 1 else -1)
    return x, a[1] + (b[1] - a[1]) * t + 4 * bend * t * (1 - t)


def draw_pairs(
    views: tuple[Tensor, Tensor], found: Pairs, marks: list[tuple[int, Tensor, str]]
) -> bytes:
    """Draw two views (3, S, S) side by side and a line for each pair -> PNG.

    Lines are green and red where the truth is known, else of a colour each. ``marks`` are (which
    view, centre, marker) of matplotlib.
    """
    figure = Figure(figsize=(8.4, 4.15), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    for i, view in enumerate(views):
        left = i * (1 + GAP)
        axes.imshow(view.permute(1, 2, 0).cpu().numpy(), extent=(left, left + 1, 1, 0))
    known = any(r is not None for r in found.right)
    palette = colormaps['tab10']
    for i, (a, b, right) in enumerate(zip(found.one, found.two, found.right, strict=True)):
        color: Any = (
            {True: RIGHT, False: WRONG, None: '#f5f7fa'}[right] if known else palette(i % 10)
        )
        x, y = curved_line(a, b)
        axes.plot(x, y, color='#1f2933', lw=3.4, alpha=0.55)
        axes.plot(x, y, color=color, lw=2)
        ends: dict[str, Any] = dict(marker='o', ls='', ms=5, mec='#1f2933', mew=0.8, zorder=3)
        axes.plot(x[[0, -1]], y[[0, -1]], color=color, **ends)
    for which, at, marker in marks:
        axes.plot(
            at[0] + which * (1 + GAP), at[1], marker, ms=13, mfc='#fde047', mec=INK, mew=1.2,
            zorder=4,
        )  # fmt: skip
    axes.set_xlim(0, 2 + GAP)
    axes.set_ylim(1, 0)
    axes.set_aspect('equal')
    hide_axes(axes)
    return png(figure)
