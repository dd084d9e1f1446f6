"""Plots of features, schedules and views."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ..datasets.picture import Picture
from .figures import BLUE, INK, bare, plain, png
from .schedules import TITLES, Line, Panels
from .views import View, words

MOST_NAMES = 20  # classes or lines that a legend names
POINTS = 1500  # of a line; more are not seen


def scatter(points: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> bytes:
    """Draw points (N, 2), coloured by label; without labels in one colour -> PNG."""
    named = bool(labels) and len(set(labels)) <= MOST_NAMES
    figure = Figure(figsize=(8.2 if named else 6.4, 6.2), dpi=130, layout='constrained')
    axes = figure.add_subplot()
    kinds = sorted(set(labels))
    palette = colormaps['tab10' if len(kinds) <= 10 else 'tab20' if named else 'hsv']
    size = float(np.clip(9000 / max(len(points), 1), 6, 45))
    for i, kind in enumerate(kinds or [None]):
        rows = points if kind is None else points[np.array(labels) == kind]
        color = BLUE if kind is None else palette(i if named else i / len(kinds))
        name = classes[kind] if kind is not None and classes else ''
        axes.scatter(rows[:, 0], rows[:, 1], s=size, color=color, alpha=0.8, lw=0, label=name)
    if named:
        axes.legend(
            loc='center left', bbox_to_anchor=(1, 0.5), frameon=False, fontsize=10, markerscale=1.4
        )
    axes.set_aspect('equal', 'datalim')
    bare(axes)
    return png(figure)


def thumbnails(
    images: dict[tuple[int, int], Image.Image], cells: int, side: int = 56
) -> Image.Image:
    """Put pictures in their (row, column) of a sheet of ``cells`` x ``cells``."""
    sheet = Image.new('RGB', (cells * side, cells * side), 'white')
    for (row, column), image in images.items():
        small = image.resize((side - 2, side - 2), Image.Resampling.BICUBIC)
        sheet.paste(small, (column * side + 1, row * side + 1))
    return sheet


def panels(found: Panels, per_epoch: int) -> bytes:
    """Draw every schedule against epochs, a panel a value, a line a group -> PNG."""
    rows = math.ceil(len(found) / 2)
    figure = Figure(figsize=(9.6, 2.9 * rows), dpi=130, layout='constrained')
    for i, (name, lines) in enumerate(found.items()):
        axes = figure.add_subplot(rows, 2, i + 1)
        _panel(axes, lines, per_epoch)
        title = TITLES.get(name, name.replace('_', ' ').capitalize())
        axes.set_title(title, loc='left', fontsize=11.5, color=INK)
    return png(figure)


def _panel(axes: Any, lines: list[Line], per_epoch: int) -> None:
    shades = colormaps['viridis'](np.linspace(0, 0.85, len(lines)))
    for i, line in enumerate(lines):
        step = max(1, len(line.values) // POINTS)
        kept = [*range(0, len(line.values), step), len(line.values) - 1]
        color = BLUE if len(lines) == 1 else shades[i]
        named = len(lines) <= 6 or i in (0, len(lines) - 1)
        label = line.label if named else None
        axes.plot(
            [k / per_epoch for k in kept], [line.values[k] for k in kept],
            color=color, lw=1.8, label=label or None,
        )  # fmt: skip
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    axes.set_xlabel('epoch', fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True))
    axes.grid(axis='y', color='#e4e7eb', lw=0.8)
    axes.ticklabel_format(axis='y', scilimits=(-3, 4), useOffset=False)
    axes.margins(x=0.02, y=0.1)
    plain(axes)


def views_sheet(picture: Picture, views: list[View], columns: int = 5) -> bytes:
    """Draw a picture with its crops, and each view with its numbers beneath -> PNG."""
    columns = min(columns, len(views))
    rows = math.ceil(len(views) / columns)
    said = [words(view, picture) for view in views]
    text = 0.155 * max(map(len, said)) + 0.1  # inches below a view
    figure = Figure(figsize=(1.75 * (columns + 1.6), rows * (1.65 + text)), dpi=130)
    widths = [1.6, *[1] * columns]
    grid = figure.add_gridspec(
        rows, columns + 1, width_ratios=widths, left=0.01, right=0.995, top=0.995,
        bottom=text / (rows * (1.65 + text)), wspace=0.06, hspace=text / 1.65,
    )  # fmt: skip
    whole = figure.add_subplot(grid[:2, 0], anchor='NW')
    whole.imshow(picture.pil)
    bare(whole)
    shades = colormaps['tab10' if len(views) <= 10 else 'tab20']
    for i, (view, lines) in enumerate(zip(views, said, strict=True)):
        color = shades(i % 20)
        x, y, w, h = view.drawn.box
        whole.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=color, lw=1.8))
        axes = figure.add_subplot(grid[i // columns, 1 + i % columns], anchor='N')
        _view(axes, view, color)
        axes.text(
            0, -0.03, '\n'.join(lines), transform=axes.transAxes, va='top', fontsize=7.2,
            color=INK, linespacing=1.3,
        )  # fmt: skip
    return png(figure)


def _view(axes: Any, view: View, color: Any) -> None:
    pixels = view.pixels.permute(1, 2, 0).numpy()
    extent = (0, 1, 1, 0)
    axes.imshow(pixels, extent=extent)
    if view.mask is not None:
        cover = np.zeros((*view.mask.shape, 4))
        cover[view.mask.numpy()] = (0.6, 0.65, 0.7, 0.88)
        axes.imshow(cover, extent=extent, interpolation='nearest')
    bare(axes)
    axes.spines[:].set_visible(True)
    axes.spines[:].set(color=color, linewidth=2.2)
