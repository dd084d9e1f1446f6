"""Figures of the table with their intervals, and the differences between models in words."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config.pretrained import RANDOM
from ..evaluation.intervals import (
    Interval,
    difference_over_seeds,
    of_scores,
    over_images,
    over_seeds,
    resampled,
)
from .cells import Cell
from .models import PIXELS, Model
from .suites import MEASURES

Place = tuple[str, str]  # data set and measure


class Figure(NamedTuple):
    """A figure in percent: the mean over seeds, its intervals, and the value of each seed.

    ``over_images`` says what other test images would give, ``over_seeds`` what other seeds would,
    None for one. ``resampled`` (R,) are the figures of resampled images.
    """

    value: float
    over_images: Interval
    over_seeds: Interval | None
    seeds: tuple[float, ...]
    images: int
    resampled: NDArray[Any]


class Difference(NamedTuple):
    """First model less second at one place, in points, with its intervals."""

    place: Place
    value: float
    over_images: Interval
    over_seeds: Interval | None

    @property
    def shown(self) -> bool:
        """Whether every interval there is excludes 0."""
        seeds = self.over_seeds is None or self.over_seeds.excludes_zero
        return self.over_images.excludes_zero and seeds


class Verdict(NamedTuple):
    """Two models by one measure: names, the measure, differences on data sets, and a sentence."""

    first: str
    second: str
    measure: str
    differences: tuple[Difference, ...]
    sentence: str


def figure_of(cells: Sequence[Cell]) -> Figure | None:
    """Return the figure of a model's cells, one for each seed; None where one has no scores."""
    scores = [cell.scores for cell in cells]
    known = [s for s in scores if s is not None]
    if not known or len(known) < len(scores):
        return None
    values = tuple(s.value() for s in known)
    figures: NDArray[Any] = np.mean([resampled(s) for s in known], 0)
    return Figure(
        mean(values),
        of_scores(known, figures),
        over_seeds(values),
        values,
        len(known[0].rows),
        figures,
    )


def difference(place: Place, first: Figure, second: Figure) -> Difference:
    """Return the difference of two figures of the same images, paired over them."""
    return Difference(
        place,
        first.value - second.value,
        over_images(first.resampled - second.resampled),
        difference_over_seeds(first.seeds, second.seeds),
    )


def verdicts(models: Sequence[Model], table: Mapping[str, Mapping[Place, Figure]]) -> list[Verdict]:
    """Return a verdict for every pair of models and every measure that both have.

    ``table`` has the figures of each model by place. Of each pair the one that is more often
    better, or ahead on average, comes first.
    """
    found = []
    for measure in MEASURES:
        for a, b in combinations(models, 2):
            shared = [
                place for place in table[a.name] if place in table[b.name] and place[1] == measure
            ]
            # other images of one name would not be paired
            shared = [p for p in shared if table[a.name][p].images == table[b.name][p].images]
            if not shared:
                continue
            each = [difference(p, table[a.name][p], table[b.name][p]) for p in shared]
            wins = sum(d.shown * np.sign(d.value) for d in each)
            ahead = (wins, sum(d.value for d in each)) >= (0, 0)
            first, second = (a, b) if ahead else (b, a)
            if not ahead:
                each = [difference(p, table[first.name][p], table[second.name][p]) for p in shared]
            found.append(
                Verdict(
                    first.name, second.name, measure, tuple(each), sentence(first, second, each)
                )
            )
    return found


def sentence(first: Model, second: Model, each: Sequence[Difference]) -> str:
    """Say of two models on which data sets one is better, by how much, and what is not shown."""
    better = [d for d in each if d.shown and d.value > 0]
    worse = [d for d in each if d.shown and d.value < 0]
    rest = [d for d in each if not d.shown]
    parts = []
    if better:
        parts.append(f'{first.name} is better than {second.name} {_where(better, each)}')
    if worse:
        whom = '' if better else f' than {first.name}'
        parts.append(f'{second.name} is better{whom} {_where(worse, each)}')
    if rest:
        names = ', '.join(d.place[0] for d in rest)
        of = '' if parts else f' between {first.name} and {second.name}'
        parts.append(f'{"no" if parts else "No"} difference{of} shown on {names}')
    return '; '.join(parts) + _runs(first, second) + '.'


def _where(shown: Sequence[Difference], each: Sequence[Difference]) -> str:
    """Return on how many data sets, which, and by how many points."""
    sizes = sorted(abs(d.value) for d in shown)
    by = f'{sizes[0]:.1f}' if len(sizes) == 1 else f'{sizes[0]:.1f} to {sizes[-1]:.1f}'
    names = ', '.join(d.place[0] for d in shown)
    on = names if len(each) == 1 else f'{len(shown)} of {len(each)} ({names})'
    return f'on {on}, by {by} points'


def _runs(first: Model, second: Model) -> str:
    """Return whose figures are of one training run only."""
    untrained = (PIXELS, RANDOM)
    single = [
        m.name for m in (first, second) if len(m.runs) == 1 and m.runs[0].source not in untrained
    ]
    if not single:
        return ''
    if len(single) == 2:
        return ' (one training run of each)'
    return f' (one training run of {single[0]})'
