"""Classification with few labelled images of each class, over several draws of them."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from .probe import Scale

SIZES = (1, 2, 4, 8, 16)  # labelled images of each class
DRAWS = 5
STRENGTH = 1.0  # scikit-learn's C


def smallest_class(labels: Tensor) -> int:
    """Return how many images the smallest class of labels (N,) has, of classes that have any."""
    counts = labels.bincount()
    return int(counts[counts > 0].min())


def draw(labels: Tensor, size: int, number: int) -> Tensor:
    """Return the rows (classes * size,) of draw ``number``: ``size`` of each class of labels (N,).

    Draws of more images contain those of fewer.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(number))
    drawn = labels[order]
    rows = [order[drawn == label][:size] for label in drawn.unique()]
    return torch.cat(rows)


def few_label_hits(
    bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor, size: int, draws: int = DRAWS
) -> Tensor:
    """Return which queries are right after training on ``size`` images a class: (draws, Q) bool.

    bank (N, C), labels (N,), queries (Q, C), truth (Q,). Logistic regression with an L2 penalty,
    as MSN measures few labels (Assran et al. 2022; ours is scikit-learn's with C = 1, no strength
    being chosen, as there is nothing to choose on). Features are standardised by all
    images of the bank, whose labels are not used, and divided by the root of their width.
    """
    scale = Scale.of(bank)
    root = bank.shape[1] ** 0.5
    x = (scale(bank) / root).double().cpu().numpy()
    y = labels.cpu().numpy()
    asked = (scale(queries) / root).double().cpu().numpy()
    hits = []
    for number in range(draws):
        rows = draw(labels.cpu(), size, number).numpy()
        fitted = LogisticRegression(C=STRENGTH, max_iter=1000).fit(x[rows], y[rows])
        hits.append(torch.from_numpy(fitted.predict(asked)) == truth.cpu())
    return torch.stack(hits)
