"""A backbone alone, as kNN and probes over stored features measure it."""

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from ..core import UserError
from ..registry import MODELS
from .backbones import Backbone, Features


@MODELS.register_module()
class Encoder(BaseModel):
    """A frozen backbone behind a preprocessor: nothing to train, nothing but features to give."""

    def __init__(self, backbone: dict | None = None, data_preprocessor: dict | None = None) -> None:
        if backbone is None:
            raise UserError('Encoder: has no network; add model.backbone')
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        self.backbone: Backbone = MODELS.build(backbone)
        self.backbone.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``; constructors have initialised all else."""
        self.backbone.init_weights()

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the backbone."""
        return self.backbone.encode(inputs)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        """(B, 3, H, W) -> pooled features (B, C)."""
        if mode != 'tensor':
            raise UserError(f"mode '{mode}': an encoder knows 'tensor'; to train it use a method")
        return self.encode(inputs).pooled
