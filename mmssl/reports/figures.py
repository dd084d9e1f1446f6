"""Draw line plots as PNG, in one style for all reports."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .history import Points

INK, BLUE, GREY = '#1f2933', '#2563eb', '#9aa5b1'
_NOTE: dict[str, Any] = dict(
    textcoords='offset points', ha='right', va='bottom', fontsize=9.5, color=INK
)


def curve(
    points: Points,
    label: str,
    levels: Sequence[tuple[str, float]] = (),
    limits: tuple[float | None, float | None] = (None, None),
    marks: bool = False,
    size: tuple[float, float] = (4.4, 2.75),
) -> bytes:
    """Draw (epoch, value) as a line, each of ``levels`` (name, value) as a dashed one -> PNG.

    ``limits`` are the ends of the value axis, None for what the data need; ``size`` is in inches.
    """
    figure = Figure(figsize=size, dpi=200, layout='constrained')
    axes = figure.add_subplot()
    epochs, values = zip(*points, strict=True)
    axes.plot(
        epochs, values, color=BLUE, lw=2, marker='o' if marks or len(points) == 1 else None, ms=4.5
    )
    for name, value in levels:
        axes.axhline(value, color=INK, lw=1, ls=(0, (4, 3)))
        axes.annotate(name, (epochs[-1], value), (0, 3), **_NOTE)
    style_curve(axes, label)
    axes.set_ylim(*limits)
    return png(figure)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format='png', facecolor='white')
    return file.getvalue()


def style_curve(axes: Any, title: str) -> None:
    """Set title, epochs, grid and margins of a plot of values against epochs."""
    axes.set_xlabel('epoch', color=INK, fontsize=10)
    axes.set_title(title, loc='left', fontsize=11.5, color=INK)
    style_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True))
    axes.grid(axis='y', color='#e4e7eb', lw=0.8)
    axes.margins(x=0.02, y=0.12)


def style_axes(axes: Any) -> None:
    """Style a plot as `curve` does: two thin sides, no frame."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(GREY)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=9.5)
    axes.set_axisbelow(True)


def hide_axes(axes: Any, title: str = '', size: float = 9) -> None:
    """Remove ticks and frame from an image plot, and set a small title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=size, color=INK, pad=3)
