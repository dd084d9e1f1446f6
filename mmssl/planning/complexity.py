"""Count the parameters and floating-point operations of a network."""

import math
from typing import Any, NamedTuple

import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn

from ..models.backbones import Backbone


class Cost(NamedTuple):
    """parameters of all, of what trains and of one backbone; flops of the backbone, one image."""

    parameters: int
    trained: int
    backbone: int
    flops: int


class _AllOutputs(nn.Module):
    """Wrapper that returns all features a backbone computes of an image."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> pooled (B, C), tokens (B, N, C)."""
        features = self.backbone.encode(x)
        return features.pooled, features.tokens


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Count fused attention as its two products; q (..., N, D), k (..., M, D), v (..., M, E)."""
    q, k, v = (x.type().sizes() for x in inputs[:3])
    found: int = math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
    return found


def count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())


def flops(backbone: Backbone, size: int | tuple[int, int] = 224) -> int:
    """Return the operations for one image of ``size`` pixels, or (H, W).

    A multiplication with its addition counts once; norms, activations and resizing count as
    mmengine counts them. Published figures are made this way.
    """
    height, width = (size, size) if isinstance(size, int) else size
    modes = {module: module.training for module in backbone.modules()}
    counter = FlopAnalyzer(_AllOutputs(backbone).eval(), _image(backbone, height, width))
    counter.set_op_handle('aten::scaled_dot_product_attention', _attention)
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    total = int(counter.total())
    for module, mode in modes.items():
        module.training = mode
    return total


def _image(backbone: Backbone, height: int, width: int) -> Tensor:
    weight = next(backbone.parameters())
    return torch.zeros(
        1, backbone.in_channels, height, width, dtype=weight.dtype, device=weight.device
    )


def cost(model: Any, size: int | tuple[int, int] = 224) -> Cost:
    """Return the cost of a Pretrainer or Classifier."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Cost(count(model), trained, count(model.backbone), flops(model.backbone, size))
