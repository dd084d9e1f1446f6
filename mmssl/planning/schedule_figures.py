"""Figure of all schedules of a config: a panel for each value, a line for each group."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ..reports.figures import BLUE, png, style_curve
from .schedules import TITLES, Line, Panels

POINTS = 1500  # of a line; more are not seen


def draw_panels(panels: Panels, per_epoch: int) -> bytes:
    """Draw every schedule against epochs -> PNG."""
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(9.6, 2.9 * rows), dpi=130, layout='constrained')
    for i, (name, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, 2, i + 1)
        _draw_lines(axes, lines, per_epoch)
        style_curve(axes, TITLES.get(name, name.replace('_', ' ').capitalize()))
    return png(figure)


def _draw_lines(axes: Any, lines: list[Line], per_epoch: int) -> None:
    palette = colormaps['viridis'](np.linspace(0, 0.85, len(lines)))
    for i, line in enumerate(lines):
        step = max(1, len(line.values) // POINTS)
        kept = [*range(0, len(line.values), step), len(line.values) - 1]
        color = BLUE if len(lines) == 1 else palette[i]
        named = len(lines) <= 6 or i in (0, len(lines) - 1)
        label = line.label if named else None
        axes.plot(
            [k / per_epoch for k in kept], [line.values[k] for k in kept],
            color=color, lw=1.8, label=label or None,
        )  # fmt: skip
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    axes.ticklabel_format(axis='y', scilimits=(-3, 4), useOffset=False)
