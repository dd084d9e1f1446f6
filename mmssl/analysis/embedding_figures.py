"""Figures of an embedding: points coloured by class, and a sheet of thumbnails."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from ..reports.figures import BLUE, hide_axes, png

MOST_NAMES = 20  # classes that a legend names


def scatter(points: NDArray[Any], labels: Sequence[int], classes: Sequence[str]) -> bytes:
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
    hide_axes(axes)
    return png(figure)


def thumbnails(
    images: dict[tuple[int, int], Image.Image], cells: int, side: int = 56
) -> Image.Image:
    """Put images in their (row, column) of a sheet of ``cells`` x ``cells``."""
    sheet = Image.new('RGB', (cells * side, cells * side), 'white')
    for (row, column), image in images.items():
        small = image.resize((side - 2, side - 2), Image.Resampling.BICUBIC)
        sheet.paste(small, (column * side + 1, row * side + 1))
    return sheet
