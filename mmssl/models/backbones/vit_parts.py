"""Parts of DINOv2's and DINOv3's vision transformers: rotary positions, SwiGLU, masked biases."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from timm.layers import DropPath, GluMlp
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


class Packing:
    """How images of G sizes lie in one tensor of rows (R, C), group by group, image by image.

    ``shapes`` (B_i, N_i) are the images and tokens of each group, and ``turns`` its rotary sines
    and cosines, if there are any.
    """

    def __init__(self, shapes: list[tuple[int, int]], turns: list[tuple[Tensor, ...]]) -> None:
        self.shapes = shapes
        self.turns = turns
        self.rows = [images * tokens for images, tokens in shapes]
        self.places: dict[nn.Module, int] = {}
        self.kept: dict[torch.dtype, Tensor] = {}  # (drops, R), by the type of rows

    def draw_depths(self, blocks: Iterable[Any], like: Tensor) -> None:
        """Draw which images each block drops (timm's DropPath), for all blocks at once.

        In the order of a pass for each group, so that the draws are the same.
        """
        branches = [drop for block in blocks for drop in (block.drop_path1, block.drop_path2)]
        drops = [d for d in branches if isinstance(d, DropPath) and d.training and d.drop_prob]
        if not drops:
            return
        parts = []
        for images, tokens in self.shapes:
            drawn = [like.new_empty(images).bernoulli_(1 - drop.drop_prob) for drop in drops]
            parts.append(torch.stack(drawn)[..., None].expand(-1, -1, tokens).flatten(1))
        table = torch.cat(parts, 1)  # (drops, R)
        torch._foreach_div_(list(table.unbind()), [1 - drop.drop_prob for drop in drops])
        self.places = {drop: i for i, drop in enumerate(drops)}
        self.kept = {table.dtype: table}

    def drop(self, branch: nn.Module, x: Tensor) -> Tensor:
        """Return rows (R, C) of a block's branch without those of the images that it drops."""
        place = self.places.get(branch)
        if place is None:
            return x
        if x.dtype not in self.kept:  # mixed precision; once for all blocks
            self.kept[x.dtype] = next(iter(self.kept.values())).to(x.dtype)
        return x * self.kept[x.dtype][place, :, None]


class PackedAttention(Attention):
    """timm's attention, also within images of several sizes that are packed."""

    def forward(self, x: Tensor, *turns: Tensor, packing: Packing | None = None) -> Tensor:
        """Attend in x (B, g + N, C), or within each image of packed rows (R, C)."""
        if packing is not None:
            return self._in_groups(x, packing)
        found: Tensor = super().forward(x)
        return found

    def _in_groups(self, x: Tensor, packing: Packing) -> Tensor:
        """Attend within each image, (R, C) -> (R, C); the products are those of all rows."""
        parts = []
        groups = zip(self.qkv(x).split(packing.rows), packing.shapes, packing.turns, strict=True)
        for qkv, shape, turns in groups:
            y = F.scaled_dot_product_attention(*self.heads(qkv.view(*shape, -1), *turns))
            parts.append(y.transpose(1, 2).flatten(0, 1).flatten(1))  # (B * N, C)
        out: Tensor = self.proj(torch.cat(parts))
        return out

    def heads(self, qkv: Tensor, *turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v (B, heads, g + N, c) of the first layer's output (B, g + N, 3 C)."""
        q, k, v = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v


class RotaryAttention(PackedAttention):
    """timm's attention with queries and keys turned by the places of their patches."""

    def heads(self, qkv: Tensor, *turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v (B, heads, g + N, c), turned by sin and cos (N, c)."""
        q, k, v = super().heads(qkv)
        return rotate(q, *turns), rotate(k, *turns), v

    def forward(self, x: Tensor, *turns: Tensor, packing: Packing | None = None) -> Tensor:
        """Attend in x (B, g + N, C), turned by sin and cos (N, c), or in packed rows (R, C)."""
        if packing is not None:
            return self._in_groups(x, packing)
        y = F.scaled_dot_product_attention(*self.heads(self.qkv(x), *turns))
        out: Tensor = self.proj(y.transpose(1, 2).reshape(x.shape))
        return out


class PackedBlock(Block):
    """timm's block, also of images of several sizes that are packed, around either attention."""

    def forward(self, x: Tensor, *turns: Tensor, packing: Packing | None = None) -> Tensor:
        """(B, g + N, C) -> (B, g + N, C), with ``turns`` of `RotaryPositions`; or rows (R, C)."""
        dropped = packing.drop if packing else _drop
        options = {'packing': packing} if packing else {}
        y = self.attn(self.norm1(x), *turns, **options)
        x = x + dropped(self.drop_path1, self.ls1(y))
        return x + dropped(self.drop_path2, self.ls2(self.mlp(self.norm2(x))))


def _drop(branch: Any, x: Tensor) -> Tensor:
    found: Tensor = branch(x)
    return found
