"""SweepHead: many linear classifiers trained at once, each at a learning rate of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...core import UserError
from ...functional.grouped_linear import grouped_cross_entropy, grouped_linear
from ...registry import MODELS

RATES = tuple(n * 10.0**k for k in range(-4, 1) for n in range(1, 10))


@MODELS.register_module()
class SweepHead(nn.Module):
    """G linear layers; layer g is trained at ``rates[g]`` times the optimizer's rate.

    The 45 rates of iBOT (``eval_linear_multi.py``) by default: n * 10^k, n 1 to 9, k -4 to 0.
    SGD without weight decay is linear in the gradient, so a layer's rate is its share of the loss;
    decay, clipping or an adaptive optimizer would break that. ``best`` is the layer whose scores
    are predictions: `SweepHook` sets it. Weights N(0, ``init_std``), biases 0. Raises UserError for
    no rates, and for rates that are not above 0.
    """

    rates: Tensor
    best: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int = 1000,
        rates: Sequence[float] = RATES,
        init_std: float = 0.01,
    ) -> None:
        super().__init__()
        if not rates or min(rates) <= 0:
            raise UserError(
                f'SweepHead.rates={rates}: give at least one, and all above 0',
                key='SweepHead.rates',
                value=rates,
            )
        self.num_classes = num_classes
        weight = torch.empty(len(rates), num_classes, in_features)
        bias = torch.zeros(len(rates), num_classes)
        # named as one layer's tensors, by which files of classifiers are known
        self.fc = nn.ParameterDict(dict(weight=nn.init.normal_(weight, std=init_std), bias=bias))
        self.register_buffer('rates', torch.tensor(rates, dtype=torch.float64))
        self.register_buffer('best', torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) -> logits (B, G, classes)."""
        return grouped_linear(x, self.fc['weight'], self.fc['bias'])

    def answer(self, logits: Tensor) -> Tensor:
        """Return the logits of the best layer: (B, G, classes) -> (B, classes)."""
        return logits[:, self.best]

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum () over layers of rate * mean cross-entropy.

        Logits (B, G, classes), target (B,).
        """
        each = grouped_cross_entropy(logits, target).mean(0)  # (G,)
        return (self.rates.to(each.dtype) * each).sum()
