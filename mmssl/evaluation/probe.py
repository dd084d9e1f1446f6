"""Linear classifiers over stored features, a grid of them trained side by side."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core import Schedule, UserError
from ..core.progress import LoopProgress
from ..functional.grouped_linear import grouped_cross_entropy, grouped_linear

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
ROWS = 4096  # images scored at once


class Recipe(NamedTuple):
    """Settings of a probe: the grid, the training, and the held-out share of training images."""

    rates: Sequence[float] = RATES
    decays: Sequence[float] = DECAYS
    epochs: int = 60
    batch: int = 512
    held_out: float = 0.1

    def grid(self) -> list[tuple[float, float]]:
        """Return every pair of learning rate and weight decay."""
        return [(rate, decay) for rate in self.rates for decay in self.decays]

    def check(self) -> 'Recipe':
        """Return itself. Raises UserError when a setting is out of range."""
        rules = (
            ('rates', _numbers(self.rates) and min(self.rates) > 0, 'a list of values above 0'),
            ('decays', _numbers(self.decays) and min(self.decays) >= 0, 'a list of values from 0'),
            ('epochs', type(self.epochs) is int and self.epochs >= 1, 'at least 1'),
            ('batch', type(self.batch) is int and self.batch >= 1, 'at least 1'),
            ('held_out', _numbers([self.held_out]) and 0 < self.held_out < 1, 'a share in (0, 1)'),
        )
        for name, holds, needed in rules:
            if not holds:
                value = getattr(self, name)  # a field of this tuple, by the name in `rules`
                raise UserError(
                    f'probe.{name}={value}: give {needed}', key=f'probe.{name}', value=value
                )
        return self


def _numbers(values: Any) -> bool:
    """Whether values are a list of finite numbers, and not empty."""
    if not isinstance(values, (list, tuple)) or not values:
        return False
    return all(type(v) in (int, float) and math.isfinite(v) for v in values)


class Layers(NamedTuple):
    """Weights (G, classes, C) and biases (G, classes) of G classifiers."""

    weights: Tensor
    biases: Tensor

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of all classifiers: (B, C) -> (B, G, classes)."""
        return grouped_linear(x, self.weights, self.biases)


class Scale(NamedTuple):
    """Mean (C,) and spread (C,) of training features; a constant feature becomes 0."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, x: Tensor) -> 'Scale':
        """Return mean and spread (C,) of features (N, C); one grid then suits all networks."""
        std = x.std(0, correction=0)
        return cls(x.mean(0), torch.where(std <= 1e-6 * std.max(), 1.0, std))

    def __call__(self, x: Tensor) -> Tensor:
        """Standardise features: (N, C) -> (N, C)."""
        return (x - self.mean) / self.std


@torch.no_grad()
def train(
    x: Tensor,
    labels: Tensor,
    classes: int,
    grid: Sequence[tuple[float, float]],
    recipe: Recipe,
    seed: int = 0,
) -> Layers:
    """Train one classifier for each (rate, decay) of ``grid`` on x (N, C), labels (N,).

    Each minimises mean cross-entropy + decay / 2 |weight|^2, as sklearn's LogisticRegression with
    C = 1 / (decay * N): SGD with momentum 0.9 and a cosine to 0, from 0, bias without decay. All
    see the same batches; they are slices of one tensor, so that a step is two products.
    """
    n, width = x.shape
    rates, decays = torch.tensor(grid, dtype=x.dtype, device=x.device).T  # (G,) each
    weights = x.new_zeros(len(grid), classes, width)
    biases = x.new_zeros(len(grid), classes)
    layers = Layers(weights, biases)
    moments = Layers(weights.clone(), biases.clone())
    batches = math.ceil(n / recipe.batch)
    schedule = Schedule(1.0, 0.0)
    order = torch.Generator().manual_seed(seed)
    total = recipe.epochs * batches
    with LoopProgress('probe', total) as progress:
        for epoch in range(recipe.epochs):
            for i, rows in enumerate(torch.randperm(n, generator=order).split(recipe.batch)):
                rows = rows.to(x.device)
                grad_weights, grad_biases = _gradient(layers, x[rows], labels[rows])
                grad_weights += decays[:, None, None] * weights
                step = schedule.value_at(epoch * batches + i, total, batches) * rates
                moments.weights.mul_(0.9).add_(grad_weights)
                moments.biases.mul_(0.9).add_(grad_biases)
                weights.addcmul_(moments.weights, step[:, None, None], value=-1)
                biases.addcmul_(moments.biases, step[:, None], value=-1)
                progress.advance()
    return layers


def _gradient(layers: Layers, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return d mean cross-entropy / d weights (G, classes, C) and biases (G, classes)."""
    error = layers.logits(x).softmax(2)  # (B, G, classes)
    at = labels[:, None, None].expand(-1, error.shape[1], 1)
    error.scatter_add_(2, at, error.new_full(at.shape, -1.0)).div_(len(x))
    return (error.flatten(1).T @ x).view_as(layers.weights), error.sum(0)


@torch.no_grad()
def score(layers: Layers, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy in percent (G,) and mean cross-entropy (G,) on x (N, C), labels (N,)."""
    hits = x.new_zeros(len(layers.biases), dtype=torch.double)
    loss = torch.zeros_like(hits)
    for part, target in zip(x.split(ROWS), labels.split(ROWS), strict=True):
        logits = layers.logits(part)  # (B, G, classes)
        hits += (logits.argmax(2) == target[:, None]).sum(0)
        loss += grouped_cross_entropy(logits, target).sum(0)
    return 100 * hits / len(x), loss / len(x)


class Choice(NamedTuple):
    """The best place in a grid of G pairs, and each pair's held-out accuracy in percent and loss.

    ``percent`` and ``loss`` are lists of G numbers.
    """

    best: int
    percent: list[float]
    loss: list[float]


def choose(
    x: Tensor,
    labels: Tensor,
    classes: int,
    recipe: Recipe,
    rows: tuple[Tensor, Tensor],
    seed: int = 0,
) -> Choice:
    """Return which pair of a recipe's grid is best on held-out rows of x (N, C), labels (N,).

    ``rows`` are those to train on (T,) and those that choose (H,). Among equal accuracies the
    lowest loss decides.
    """
    trained, held = rows
    layers = train(x[trained], labels[trained], classes, recipe.grid(), recipe, seed)
    percent, loss = (s.tolist() for s in score(layers, x[held], labels[held]))
    best = max(range(len(percent)), key=lambda i: (percent[i], -loss[i]))
    return Choice(best, percent, loss)


def split(labels: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return training rows (T,) and held-out rows (H,) of labels (N,), ``share`` of each class.

    Rows are drawn by ``seed``. Raises UserError when no rows would be left to train on or none
    held out.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = order.to(labels.device)
    order = order[labels[order].argsort(stable=True)]  # by class, shuffled within
    sizes = labels.bincount()
    place = torch.cat([torch.arange(int(size), device=labels.device) for size in sizes])
    held = place < (share * sizes[labels[order]].double()).round()
    if held.all() or not held.any():
        raise UserError(
            f'probe.held_out={share:g} of {len(labels)} training images leaves none to '
            f'{"train on" if held.all() else "choose by"}: change it or use more images',
            key='probe.held_out',
            value=share,
        )
    return order[~held].sort().values, order[held].sort().values


def interval(percent: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval in percent of an accuracy over ``count`` images (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = percent / 100
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return 100 * (middle - half), 100 * (middle + half)
