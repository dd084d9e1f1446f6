"""Parts of DINOv2's and DINOv3's vision transformers: rotary positions, SwiGLU, masked biases."""

import math
from functools import partial

import torch
from timm.layers import GluMlp
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.nn import functional as F

# SwiGLU (Shazeer 2020) with gate and value in one layer, the gate first (DINOv2 ``swiglu_ffn.py``)
SwiGLU = partial(GluMlp, act_layer=nn.SiLU, gate_last=False)


def swiglu_ratio(width: int, mlp_ratio: float) -> float:
    """Return the ratio that makes timm's MLP of ``width`` hold gate and value, each of the ratio.

    timm rounds down, so that half a channel is added.
    """
    return (2 * round(width * mlp_ratio) + 0.5) / width


class QueryValueLinear(nn.Linear):
    """Layer of queries, keys and values whose biases of keys are masked (DINOv3 ``attention.py``).

    Takes weight and bias of ``layer``, (3 C, C) and (3 C). ``bias_mask`` (3 C) is stored as in
    the official files.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, device='meta')
        self.weight = layer.weight
        self.bias = layer.bias
        mask = torch.ones_like(layer.bias.detach())
        mask[len(mask) // 3 : 2 * len(mask) // 3] = 0
        self.register_buffer('bias_mask', mask)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., 3 C)."""
        assert isinstance(self.bias_mask, Tensor)
        return F.linear(x, self.weight, self.bias * self.bias_mask.to(self.bias.dtype))


class RotaryPositions(nn.Module):
    """Sines and cosines that turn queries and keys by their place (DINOv3).

    Places go from -1 to 1 over the height and over the width, from centre to centre of patches,
    whatever the size of the grid; ``periods`` (head_dim / 4) from 1 to ``base``.
    Follows ``rope_position_encoding.py``, coordinates normalised by each axis.
    """

    def __init__(self, head_dim: int, base: float) -> None:
        super().__init__()
        steps = 2 * torch.arange(head_dim // 4, dtype=torch.float32) / (head_dim // 2)
        self.register_buffer('periods', base**steps)

    def forward(self, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Return (sines, cosines) of a grid (h, w), (h * w, head_dim) each."""
        periods = self.periods
        assert isinstance(periods, Tensor)
        axes = [torch.arange(0.5, size, device=periods.device) / size for size in (h, w)]
        places = torch.stack(torch.meshgrid(*axes, indexing='ij'), -1).flatten(0, 1)  # (h * w, 2)
        places = (2 * places - 1).to(periods.dtype)
        angles = (2 * math.pi * places[..., None] / periods).flatten(1)  # (h * w, head_dim / 2)
        angles = angles.repeat(1, 2)
        return angles.sin(), angles.cos()


def rotate(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Turn the last N tokens of x (B, heads, g + N, c) by sin, cos (N, c); the first g stay."""
    first = x.shape[-2] - sin.shape[-2]
    turned = x[..., first:, :]
    a, b = turned.chunk(2, -1)
    turned = turned * cos + torch.cat([-b, a], -1) * sin
    return torch.cat([x[..., :first, :], turned.to(x.dtype)], -2)


class RotaryAttention(Attention):
    """timm's attention with queries and keys turned by the places of their patches."""

    def turned(self, x: Tensor, sin: Tensor, cos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v (B, heads, g + N, c) of x (B, g + N, C)."""
        b, n, _ = x.shape
        parts = self.qkv(x).view(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        return rotate(q, sin, cos), rotate(k, sin, cos), v

    def forward(self, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """Attend in x (B, g + N, C), turned by sin and cos (N, c)."""
        y = F.scaled_dot_product_attention(*self.turned(x, sin, cos))
        out: Tensor = self.proj(y.transpose(1, 2).reshape(x.shape))
        return out


class RotaryBlock(Block):
    """timm's block around `RotaryAttention`."""

    def forward(self, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """(B, g + N, C) -> (B, g + N, C); sin and cos (N, c) of `RotaryPositions`."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), sin, cos)))
        out: Tensor = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return out
