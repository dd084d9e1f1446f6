"""Metrics computed by loops in NumPy."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def brute_force(
    bank: NDArray[Any],
    labels: NDArray[Any],
    queries: NDArray[Any],
    k: int,
    temperature: float,
    classes: int,
) -> NDArray[Any]:
    """Every cosine, sorted; one vote after the other."""
    unit = [
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (bank, queries)
    ]
    cosines = unit[1] @ unit[0].T
    votes = np.zeros((len(queries), classes))
    for q, row in enumerate(cosines):
        for i in np.argsort(-row, kind='stable')[: min(k, len(bank))]:
            votes[q, labels[i]] += np.exp(row[i] / temperature)
    return votes


def by_hand(pairs: Iterable[tuple[Any, Any]], classes: int) -> float:
    """Return ImageNet-S's mIoU of (found, truth) masks: one confusion matrix, class by class."""
    matrix = np.zeros((classes, classes))
    for found, truth in pairs:
        for f, t in zip(found.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if t != 1000:
                matrix[t, f] += 1
    union = [matrix[k].sum() + matrix[:, k].sum() - matrix[k, k] for k in range(classes)]
    shares = [matrix[k, k] / (union[k] + 1e-10) for k in range(classes)]
    return float(100 * sum(shares) / classes)
