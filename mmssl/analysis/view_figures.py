"""Figure of an image with its crops, and of each view with its parameters."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..datasets.encoded_image import EncodedImage
from ..reports.figures import INK, hide_axes, png
from .views import View, describe_view


def views_sheet(image: EncodedImage, views: list[View], columns: int = 5) -> bytes:
    """Draw an image with its crops, and each view with its parameters below -> PNG."""
    columns = min(columns, len(views))
    rows = math.ceil(len(views) / columns)
    descriptions = [describe_view(view, image) for view in views]
    text = 0.155 * max(map(len, descriptions)) + 0.1  # inches below a view
    figure = Figure(figsize=(1.75 * (columns + 1.6), rows * (1.65 + text)), dpi=130)
    widths = [1.6, *[1] * columns]
    grid = figure.add_gridspec(
        rows, columns + 1, width_ratios=widths, left=0.01, right=0.995, top=0.995,
        bottom=text / (rows * (1.65 + text)), wspace=0.06, hspace=text / 1.65,
    )  # fmt: skip
    whole = figure.add_subplot(grid[:2, 0], anchor='NW')
    whole.imshow(image.pil)
    hide_axes(whole)
    shades = colormaps['tab10' if len(views) <= 10 else 'tab20']
    for i, (view, lines) in enumerate(zip(views, descriptions, strict=True)):
        color = shades(i % 20)
        x, y, w, h = view.params.box
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
    hide_axes(axes)
    axes.spines[:].set_visible(True)
    axes.spines[:].set(color=color, linewidth=2.2)
