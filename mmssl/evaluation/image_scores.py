"""Scores of single images that the figure of a data set is made of, and that a bootstrap resamples.

Every figure here is a function of sums over images: a mean, a mean over classes, a mean IoU. The
rows that are summed are kept, so that intervals and differences need no second evaluation.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MEAN, MEAN_PER_CLASS, MEAN_IOU = 'mean', 'mean per class', 'mean IoU'


class ImageScores(NamedTuple):
    """Rows (N, D) of N images, and which figure in percent their sums (D,) are reduced to."""

    rows: NDArray[Any]
    kind: str = MEAN

    def value(self) -> float:
        """Return the figure of all images, in percent."""
        return float(self.of_sums(self.rows.sum(0, dtype=np.float64)))

    def of_sums(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Return the figures (...) of sums over some images (..., D), in percent."""
        found: NDArray[Any] = 100 * REDUCTIONS[self.kind](sums)
        return found


def of_values(values: NDArray[Any]) -> ImageScores:
    """Return the scores of a mean over images: values (N,), shares of 1."""
    return ImageScores(np.stack([values, np.ones(len(values))], 1).astype(np.float64), MEAN)


def of_hits(hits: NDArray[Any], labels: NDArray[Any], classes: int, kind: str) -> ImageScores:
    """Return the scores of an accuracy: hits (N,) in 0..1, labels (N,), ``kind`` a mean's.

    The mean over classes gives each class with images the same weight (Kornblith et al. 2019,
    table 1).
    """
    if kind == MEAN:
        return of_values(hits)
    of_class = np.eye(classes)[labels]  # (N, classes)
    return ImageScores(np.concatenate([of_class * hits[:, None], of_class], 1), MEAN_PER_CLASS)


def of_overlaps(counts: NDArray[Any]) -> ImageScores:
    """Return the scores of a mean IoU: counts (N, 3, classes) of correct, predicted, true pixels.

    Pixels of all images are summed before a class is divided; classes that are neither predicted
    nor true are left out (VOC 2012, mmseg).
    """
    return ImageScores(counts.reshape(len(counts), -1).astype(np.float64), MEAN_IOU)


def _mean(sums: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = sums[..., 0] / sums[..., 1]
    return found


def _mean_per_class(sums: NDArray[Any]) -> NDArray[Any]:
    hits, images = np.split(sums, 2, axis=-1)  # (..., classes) each
    return _mean_of_shares(hits, images)


def _mean_iou(sums: NDArray[Any]) -> NDArray[Any]:
    right, predicted, true = np.split(sums, 3, axis=-1)  # (..., classes) each
    return _mean_of_shares(right, predicted + true - right)


def _mean_of_shares(parts: NDArray[Any], wholes: NDArray[Any]) -> NDArray[Any]:
    """Return the mean (...) of parts / wholes (..., classes), over classes with a whole."""
    shares = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    found: NDArray[Any] = shares.sum(-1) / np.maximum((wholes > 0).sum(-1), 1)
    return found


REDUCTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    MEAN: _mean,
    MEAN_PER_CLASS: _mean_per_class,
    MEAN_IOU: _mean_iou,
}
