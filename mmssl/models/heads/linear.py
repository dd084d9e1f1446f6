"""Classifier layer of the linear and fine-tuning protocols."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...core.precision import full_precision
from ...registry import MODELS

cross_entropy = full_precision(F.cross_entropy)


@MODELS.register_module()
class LinearHead(nn.Module):
    """One Linear layer, optionally after a norm.

    ``norm``: True is a batch norm without scale and shift, 'layer' a LayerNorm (MAE's fc_norm).
    Weight N(0, ``init_std``), bias 0 (MoCo v3 ``main_lincls.py``: 0.01). The truncated normal of
    timm's heads is the same: it cuts at 2, not at two standard deviations. ``init_std=None``
    keeps the weights of torch's own initialisation, ``zero_bias=False`` its biases, uniform in
    +- 1 / sqrt(``in_features``). Raises UserError for another norm.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int = 1000,
        init_std: float | None = 0.01,
        norm: bool | str = False,
        label_smoothing: float = 0.0,
        zero_bias: bool = True,
    ) -> None:
        super().__init__()
        kinds: dict[bool | str, Any] = {
            False: nn.Identity,
            True: partial(nn.BatchNorm1d, affine=False),
            'layer': partial(nn.LayerNorm, eps=1e-6),
        }
        if norm not in kinds:
            raise UserError(
                f"LinearHead.norm={norm!r}: use True, False or 'layer'",
                key='LinearHead.norm',
                value=norm,
            )
        self.norm = kinds[norm](in_features)
        self.fc = nn.Linear(in_features, num_classes)
        if init_std is not None:
            nn.init.normal_(self.fc.weight, std=init_std)
        if zero_bias:
            nn.init.zeros_(self.fc.bias)
        self.label_smoothing = label_smoothing

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return self.fc.out_features

    def pre_logits(self, x: Tensor) -> Tensor:
        """Return what the layer sees: (B, C) -> (B, C), after the norm."""
        found: Tensor = self.norm(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) -> logits (B, classes)."""
        found: Tensor = self.fc(self.pre_logits(x))
        return found

    def answer(self, logits: Tensor) -> Tensor:
        """Return the logits (B, classes) unchanged: there is one layer."""
        return logits

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy () of logits (B, classes).

        ``target``: classes (B,), or shares of classes (B, classes).
        """
        return cross_entropy(logits, target, label_smoothing=self.label_smoothing)
