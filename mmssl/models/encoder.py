"""A backbone without a method, evaluated by kNN and by probes over stored features."""

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from ..core import UserError
from ..registry import MODELS
from .backbones import Backbone, Features, build_backbone
from .preprocessor import adopt_normalisation


@MODELS.register_module()
class Encoder(BaseModel):
    """A preprocessor and a frozen backbone. Raises UserError when there is no backbone."""

    def __init__(
        self,
        backbone: dict[str, Any] | nn.Module | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        if backbone is None:
            raise UserError(
                'Encoder: has no network; add model.backbone', key='model.backbone', value=None
            )
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        built: Any = build_backbone(backbone)
        self.backbone: Backbone = built
        adopt_normalisation(self.data_preprocessor, self.backbone)
        self.backbone.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``; constructors have initialised all else."""
        self.backbone.init_weights()

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the backbone."""
        return self.backbone.encode(inputs)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        """(B, 3, H, W) -> pooled features (B, C). Raises UserError for another mode."""
        if mode != 'tensor':
            raise UserError(
                f"mode '{mode}' is unknown to an encoder; use 'tensor', or a method to train it",
                key='mode',
                value=mode,
            )
        return self.encode(inputs).pooled
