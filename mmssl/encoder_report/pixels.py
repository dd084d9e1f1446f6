"""Raw pixels as an encoder, which every network must beat."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import UserError
from ..models.backbones import Features
from ..models.preprocessor import ViewPreprocessor

SIDE = 32  # pixels of a side of the vector of an image
PATCH = 16


class PixelBackbone(nn.Module):
    """No network: an image is its pixels averaged to 32 x 32, a patch its 16 x 16 pixels."""

    strides: Sequence[int] = (PATCH,)
    in_channels = 3

    def encode(self, x: Tensor) -> Features:
        """(B, 3, H, W) -> pooled (B, 3 * 32 * 32), tokens (B, h * w, 3 * 16 * 16)."""
        grid = (x.shape[2] // PATCH, x.shape[3] // PATCH)
        pooled = F.adaptive_avg_pool2d(x, SIDE).flatten(1)
        tokens = F.unfold(x, PATCH, stride=PATCH).transpose(1, 2)  # (B, N, C)
        return Features(pooled, tokens, tokens, grid)

    def attention_layers(self) -> list[nn.Module]:
        """Raise UserError: pixels attend to nothing."""
        raise UserError('pixels: no network, so no attention', key='backbone', value='pixels')


class PixelEncoder(BaseModel):
    """A preprocessor and no network, with the members of `models.encoder.Encoder`."""

    def __init__(self) -> None:
        super().__init__(ViewPreprocessor())
        self.backbone = PixelBackbone()

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the pixels."""
        return self.backbone.encode(inputs)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Tensor:
        """(B, 3, H, W) -> pooled features (B, C)."""
        return self.encode(inputs).pooled
