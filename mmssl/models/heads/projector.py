"""Classifier layer over the first layer of the projector, for fine-tuning with few labels."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...checkpoint.projector import fill_first_layer
from ...registry import MODELS
from .linear import LinearHead


@MODELS.register_module()
class ProjectorHead(LinearHead):
    """A Linear layer of ``hidden`` outputs and GELU, then a LinearHead, whose arguments this takes.

    The first layer is the projector's of pretraining: fine-tuning starts from inside the
    projector (Chen et al. 2020, SimCLRv2), here after its first layer as in iBOT's ``eval_cls.py``
    (``finetune_head_layer=1``). Without a file it is truncated normal of std 0.02, its bias 0.
    """

    def __init__(self, in_features: int, hidden: int = 2048, **settings: Any) -> None:
        super().__init__(hidden, **settings)
        self.first = nn.Linear(in_features, hidden)
        nn.init.trunc_normal_(self.first.weight, std=0.02)
        nn.init.zeros_(self.first.bias)

    def load_first(self, path: str | Path, branch: str = 'export') -> None:
        """Take the first layer from a pretraining file. Raises UserError when it has no such."""
        fill_first_layer(self.first, path, branch)

    def pre_logits(self, x: Tensor) -> Tensor:
        """Return what the last layer sees: (B, C) -> (B, hidden)."""
        return super().pre_logits(nn.functional.gelu(self.first(x)))
