"""The mean of a study's figure over its seeds, and how far it may be off."""

import math
from collections.abc import Sequence
from statistics import fmean

from mmssl.evaluation.intervals import over_seeds


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval (Student's t), NaN for one seed."""
    found = over_seeds(values)
    return fmean(values), math.nan if found is None else (found.high - found.low) / 2
