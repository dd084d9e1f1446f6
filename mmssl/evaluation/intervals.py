"""Confidence intervals of figures: over images by the bootstrap, over seeds by Student's t."""

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .image_scores import MEAN, ImageScores
from .probe import interval

RESAMPLES = 1000
CONFIDENCE = 0.95
BATCH = 100  # resamples whose numbers are held at once


class Interval(NamedTuple):
    """Ends of an interval, in the unit of what it is of."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def resampled(scores: ImageScores, resamples: int = RESAMPLES) -> NDArray[Any]:
    """Return the figure (resamples,) of sets of N images drawn from the N with replacement.

    Draws depend on N and ``resamples`` alone, so that equal places of two results are of the same
    images: their difference is the paired bootstrap of `scipy.stats.bootstrap(paired=True)`
    (Efron and Tibshirani 1993).
    """
    count = len(scores.rows)

    def figure(drawn: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        """Return the figures (...) of numbers of images (..., N)."""
        flat = drawn.reshape(-1, count)
        places = flat + count * np.arange(len(flat))[:, None]
        times = np.bincount(places.ravel(), minlength=flat.size).reshape(flat.shape)
        return scores.of_sums(times @ scores.rows).reshape(drawn.shape[:-1])

    found = stats.bootstrap(
        (np.arange(count),),
        figure,
        vectorized=True,
        n_resamples=resamples,
        batch=BATCH,
        method='percentile',
        rng=np.random.default_rng(0),
    )
    values: NDArray[Any] = found.bootstrap_distribution
    return values


def over_images(figures: NDArray[Any], confidence: float = CONFIDENCE) -> Interval:
    """Return the percentile interval of resampled figures (resamples,), or of their differences."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(figures, [tail, 100 - tail])
    return Interval(float(low), float(high))


def of_scores(scores: Sequence[ImageScores], figures: NDArray[Any]) -> Interval:
    """Return the interval over images of the mean figure of seeds, resampled to ``figures`` (R,).

    Where every image is right, or every one wrong, resampling shows no spread; there it is
    Wilson's interval.
    """
    shares = {float(v) for s in scores if s.kind == MEAN for v in np.unique(s.rows[:, 0])[:3]}
    if all(s.kind == MEAN for s in scores) and (shares in ({0.0}, {1.0})):
        return Interval(*interval(100 * shares.pop(), len(scores[0].rows)))
    return over_images(figures)


def over_seeds(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return Student's interval of the mean of values of several seeds, None for one seed."""
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return Interval(mean(values) - float(half), mean(values) + float(half))


def difference_over_seeds(
    a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """Return Welch's interval of mean(a) - mean(b), None where either has one seed."""
    if len(a) < 2 or len(b) < 2:
        return None
    difference = mean(a) - mean(b)
    variances = [float(stats.sem(values)) ** 2 for values in (a, b)]
    if not sum(variances):
        return Interval(difference, difference)
    each = zip(variances, (len(a), len(b)), strict=True)
    degrees = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, n in each)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(sum(variances))
    return Interval(difference - half, difference + half)
