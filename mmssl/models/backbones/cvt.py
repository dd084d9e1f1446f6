"""EsViT's CvT: windowed attention, with queries, keys and values from convolutions.

Not the CvT of arXiv 2103.15808. Parameter names are those of EsViT's files
(``models/cvt_v4_transformer.py``).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from timm.layers import DropPath, QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...core.kinds import DropRate
from ...registry import MODELS
from .attention import weights
from .base import Backbone
from .tokens import Tokens, padded_to


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W), in at least float32."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        kind = x.dtype
        x = x.movedim(1, -1)
        x = super().forward(x.float() if kind in (torch.float16, torch.bfloat16) else x)
        return x.to(kind).movedim(-1, 1)


class ConvEmbed(nn.Module):
    """Strided convolution and norm that begin a stage."""

    def __init__(self, inner: int, dim: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inner, dim, kernel, stride, padding)
        self.norm = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, dim, h, w)."""
        found: Tensor = self.norm(self.proj(x))
        return found


class QKV(nn.Module):
    """Depth-wise 3x3 convolution, batch norm and 1x1 convolution to 3 C channels."""

    def __init__(self, dim: int, bias: bool) -> None:
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        self.pw = nn.Conv2d(dim, 3 * dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3 C, H, W)."""
        found: Tensor = self.pw(self.bn(self.dw(x)))
        return found


class WindowAttention(nn.Module):
    """Attention in windows of the current map, which is padded to whole windows.

    Padded positions take part. The scale is that of all C channels, not of one head's.
    """

    def __init__(self, dim: int, heads: int, window: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.scale = dim**-0.5
        self.qkv = QKV(dim, bias)
        self.proj_out = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        height, width = x.shape[-2:]
        w = min(self.window, height, width)
        # fused attention wants four dimensions, and CUDA's a batch of at most 65,535: windows are
        # heads
        q, k, v = self.windows(x).flatten(2, 3)
        y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        rows, columns = -(-height // w), -(-width // w)
        y = self.join(y.unflatten(1, (rows * columns, self.heads)), rows, columns, w)
        found: Tensor = self.proj_out(y[..., :height, :width])
        return found

    def windows(self, x: Tensor) -> Tensor:
        """Return q, k and v of windows: (B, C, H, W) -> (3, B, windows, heads, w*w, C / heads)."""
        w = min(self.window, *x.shape[-2:])
        x = self.qkv(padded_to(x, w))
        b, _, h, width = x.shape
        x = x.view(b, 3, self.heads, -1, h // w, w, width // w, w)
        x = x.permute(1, 0, 4, 6, 2, 5, 7, 3)  # (3, B, rows, columns, heads, w, w, c)
        return x.flatten(5, 6).flatten(2, 3)

    def join(self, x: Tensor, rows: int, columns: int, w: int) -> Tensor:
        """Join windows to a map: (B, windows, heads, w*w, c) -> (B, C, H, W)."""
        b, _, heads, _, c = x.shape
        x = x.view(b, rows, columns, heads, w, w, c).permute(0, 3, 6, 1, 4, 2, 5)
        return x.reshape(b, heads * c, rows * w, columns * w)


class FeedForward(nn.Module):
    """Two 1x1 convolutions."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.net = nn.Sequential(nn.Conv2d(dim, hidden, 1), QuickGELU(), nn.Conv2d(hidden, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        found: Tensor = self.net(x)
        return found


class PreNorm(nn.Module):
    """Norm, then ``fn``; parameters have the official names."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        found: Tensor = self.fn(self.norm(x))
        return found


class Blocks(nn.Module):
    """The blocks of a stage: (attention, feed-forward) pairs with residual paths."""

    def __init__(
        self, dim: int, heads: int, window: int, ratio: float, bias: bool, drops: Sequence[float]
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PreNorm(dim, WindowAttention(dim, heads, window, bias)),
                    PreNorm(dim, FeedForward(dim, ratio)),
                ]
            )
            for _ in drops
        )
        self.drop_paths = nn.ModuleList(DropPath(d) for d in drops)

    def parts(self) -> Iterator[tuple[Any, nn.Module]]:
        """Yield ((attention, feed-forward), drop path) of each block."""
        yield from zip(self.layers, self.drop_paths, strict=True)


@MODELS.register_module()
class CvT(Backbone):
    """Convolutional windowed transformer of EsViT; features are the mean of the final map.

    The defaults are the published ``cvt_tiny`` (s1). One value per stage; ``drop_path_rate``
    rises linearly over all blocks.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 192, 384, 768),
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (1, 3, 6, 12),
        windows: Sequence[int] = (7, 7, 7, 7),
        embeds: Sequence[Sequence[int]] = ((7, 4, 2), (3, 2, 1), (3, 2, 1), (3, 2, 1)),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: DropRate = 0.0,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        drops = torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist()
        self.net, inner = nn.Module(), self.in_channels
        for i, dim in enumerate(widths):
            at = sum(depths[:i])
            blocks = Blocks(
                dim, num_heads[i], windows[i], mlp_ratio, qkv_bias, drops[at : at + depths[i]]
            )
            setattr(self.net, f'stage{i}', nn.Sequential(ConvEmbed(inner, dim, *embeds[i]), blocks))
            inner = dim
        self.net.norm = ChannelNorm(widths[-1])
        self.hyperparameters = self.hyperparameters_of(dict(num_heads=num_heads, windows=windows))
        self.widths = tuple(widths)
        self.num_features = widths[-1]
        self.strides = tuple(math.prod(e[1] for e in embeds[: i + 1]) for i in range(len(widths)))
        self.stage_ends = tuple(sum(depths[: i + 1]) - 1 for i in range(len(depths)))
        self.apply(self._init)
        self.finalize()

    @classmethod
    def hyperparameters_of(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return heads and windows of a CvT of these arguments."""
        return dict(
            num_heads=tuple(settings.get('num_heads', (1, 3, 6, 12))),
            windows=tuple(settings.get('windows', (7, 7, 7, 7))),
        )

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def iter_blocks(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield the grid (B, h, w, C) after each block of x (B, 3, H, W).

        Raises UserError for a mask.
        """
        if mask is not None:
            raise UserError(
                'CvT takes no patch mask; use a ViT or a Swin for masked objectives',
                key='mask',
                value=tuple(mask.shape),
            )
        for i in range(len(self.widths)):
            embed, blocks = self.net.get_submodule(f'stage{i}')
            x = embed(x)
            for pair, drop in blocks.parts():
                x = self.run(pair, self._block, x, pair, drop)
                yield Tokens(None, x.permute(0, 2, 3, 1))  # (B, h, w, C)

    @staticmethod
    def _block(x: Tensor, pair: Any, drop: nn.Module) -> Tensor:
        attend, feed = pair
        x = x + drop(attend(x))
        found: Tensor = x + drop(feed(x))
        return found

    def final_norm(self, tokens: Tokens) -> Tokens:
        """Apply the final norm over channels: grid (B, h, w, C) -> the same shape."""
        return Tokens(None, nn.LayerNorm.forward(self.net.norm, tokens.grid))

    def attention_layers(self) -> list[nn.Module]:
        """Return the attention of each block."""
        stages = [self.net.get_submodule(f'stage{i}')[1] for i in range(len(self.widths))]
        return [attend.fn for stage in stages for (attend, _), _ in stage.parts()]

    def attention_weights(self, layer: Any, *inputs: Any, **options: Any) -> Tensor:
        """Return weights (B, windows, heads, w*w, w*w)."""
        q, k, _ = layer.windows(*inputs)
        return weights(q, k, layer.scale)

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return ([first embedding], [its blocks], [stage 1], ...)."""
        stages = [self.net.get_submodule(f'stage{i}') for i in range(len(self.widths))]
        return [stages[0][0]], [[stages[0][1]], *([s] for s in stages[1:])]
