"""EsViT's ViL (multi-scale vision longformer): sliding windows, global tokens.

Parameter names are those of EsViT's files (``models/vision_longformer.py``).
"""

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...registry import MODELS
from .base import Backbone, Tokens

VIL_2262 = (
    'l1,h3,d96,n2,s1,g1,p4,f7,a0_l2,h6,d192,n2,s1,g1,p2,f7,a0_'
    'l3,h12,d384,n6,s0,g1,p2,f7,a0_l4,h24,d768,n2,s0,g0,p2,f7,a0'
)
DEFAULTS = dict(l=1, h=3, d=192, n=1, s=1, g=1, p=2, f=7, a=1, r=0)
AROUND = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


def parse_arch(arch: str) -> list[dict[str, int]]:
    """Read stages 'l1,h3,d96,...' joined by '_': one letter and one number each.

    h heads, d width, n blocks, s sliding (1) or full (0) attention, g global tokens, p patch, f
    window. Raises UserError for unknown letters and for options nothing published uses.
    """
    stages: list[dict[str, int]] = []
    for i, text in enumerate(arch.split('_')):
        stage = dict(DEFAULTS)
        for item in text.split(','):
            if item[:1] not in DEFAULTS or not item[1:].isdigit():
                raise UserError(
                    f"ViL arch: '{item}' is not a letter of {''.join(DEFAULTS)}, number"
                )
            stage[item[0]] = int(item[1:])
        if stage['l'] != i + 1:
            raise UserError(f'ViL arch: stage {i + 1} is called l{stage["l"]}')
        if stage['a'] or stage['r']:
            raise UserError('ViL arch: absolute positions (a1) and pooled keys (r) are not offered')
        if stages and not stages[-1]['s']:
            stage['s'] = 0  # after one full stage all later ones are full
        stages.append(stage)
    return stages


@lru_cache(maxsize=64)
def _offsets(window: int, row: int, column: int) -> Tensor:
    """Bias index (w*w, w*w) of a chunk's queries and the keys of a neighbour chunk."""
    place = torch.arange(window)
    rows = place[:, None] - place[None] - row * window + 2 * window - 1  # (w, w)
    columns = place[:, None] - place[None] - column * window + 2 * window - 1
    index = rows[:, None, :, None] * (4 * window - 1) + columns[None, :, None, :]
    return index.reshape(window**2, window**2)


class _Biased(nn.Module):
    """Relative biases between grid and global tokens."""

    def __init__(self, heads: int, tokens: int, table: int) -> None:
        super().__init__()
        self.local_relative_position_bias_table = nn.Parameter(torch.zeros(table, heads))
        nn.init.trunc_normal_(self.local_relative_position_bias_table, std=0.02)
        if tokens:
            self.g2l_relative_position_bias = nn.Parameter(torch.zeros(2, heads, tokens))
            self.g2g_relative_position_bias = nn.Parameter(torch.zeros(heads, tokens, tokens))
            nn.init.trunc_normal_(self.g2l_relative_position_bias, std=0.02)
            nn.init.trunc_normal_(self.g2g_relative_position_bias, std=0.02)

    def with_globals(self, local: Tensor) -> Tensor:
        """Grow a grid-grid bias (heads, N, N) to (heads, g + N, g + N)."""
        if not hasattr(self, 'g2l_relative_position_bias'):
            return local
        heads, n, _ = local.shape
        to_grid, to_global = self.g2l_relative_position_bias  # (heads, g) each
        above = torch.cat(
            [self.g2g_relative_position_bias, to_grid[..., None].expand(-1, -1, n)], 2
        )
        below = torch.cat([to_global[:, None].expand(heads, n, -1), local], 2)
        return torch.cat([above, below], 1)


class FullAttention(_Biased):
    """Attention among all tokens; the bias is resized as an image for other resolutions."""

    def __init__(self, dim: int, heads: int, tokens: int, side: int) -> None:
        super().__init__(heads, tokens, (2 * side - 1) ** 2)
        self.heads, self.side = heads, side
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def bias(self, count: int) -> Tensor:
        """Return the grid-grid bias (heads, count, count)."""
        side = self.side
        place = torch.arange(side, device=self.qkv.weight.device)
        d = place[:, None] - place[None] + side - 1  # (side, side)
        index = d[:, None, :, None] * (2 * side - 1) + d[None, :, None, :]
        table = self.local_relative_position_bias_table[index.reshape(-1)]
        bias = table.view(side**2, side**2, self.heads).permute(2, 0, 1)
        if count == side**2:
            return bias
        return F.interpolate(bias[None], size=(count, count), mode='bicubic')[0]

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + h*w, C), global ones first -> the same shape."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.with_globals(self.bias(grid[0] * grid[1])).to(q)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class SlidingAttention(_Biased):
    """Chunks of w x w tokens attend to themselves, to neighbour chunks and to global tokens.

    ``mode`` 0: all eight neighbours; -1: none; above 0: one drawn at random in training at
    each call, all eight otherwise. Global tokens attend to everything with the same weights.
    """

    def __init__(self, dim: int, heads: int, tokens: int, window: int, mode: int) -> None:
        super().__init__(heads, tokens, (4 * window - 1) ** 2)
        self.heads, self.tokens, self.window, self.mode = heads, tokens, window, mode
        self.query, self.kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def neighbours(self) -> list[tuple[int, int]]:
        """Return the chunks to look at, as offsets (row, column)."""
        if self.mode == -1:
            return [(0, 0)]
        if self.mode > 0 and self.training:
            return [(0, 0), AROUND[random.randrange(1, 9) - 1]]
        return [(0, 0), *AROUND]

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + h*w, C), global ones first -> the same shape."""
        b, n, c = x.shape
        g = self.tokens
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)  # (B, M, g + N, C/M)
        k, v = self.kv(x).view(b, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = self.local(q[:, :, g:], k, v, grid)  # (B, M, N, C/M)
        if g:
            bias = self.with_globals(q.new_zeros(self.heads, 1, 1))
            over = torch.cat(
                [bias[:, :g, :g], bias[:, :g, g:].expand(-1, -1, n - g)], 2
            )  # (M, g, g + N)
            top = F.scaled_dot_product_attention(q[:, :, :g], k, v, attn_mask=over.to(q))
            y = torch.cat([top, y], 2)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))

    def local(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """Attention of grid queries (B, M, N, c) to global and nearby keys (B, M, g + N, c)."""
        g, w = self.tokens, self.window
        rows, columns = -(-grid[0] // w), -(-grid[1] // w)
        real = torch.ones(1, 1, grid[0] * grid[1], 1, device=q.device, dtype=torch.bool)
        q = self.chunks(q, grid, 0).flatten(2, 3)  # (B, M, chunks, w*w, c)
        keys, values, biases, masks = [], [], [], []
        for row, column in self.neighbours():
            at = (slice(1 + row, 1 + row + rows), slice(1 + column, 1 + column + columns))
            keys.append(self.chunks(k[:, :, g:], grid, 1)[:, :, at[0], at[1]].flatten(2, 3))
            values.append(self.chunks(v[:, :, g:], grid, 1)[:, :, at[0], at[1]].flatten(2, 3))
            masks.append(self.chunks(real, grid, 1)[0, 0, at[0], at[1]].flatten(0, 1)[..., 0])
            index = _offsets(w, row, column).to(q.device)
            biases.append(self.local_relative_position_bias_table[index].permute(2, 0, 1))
        bias = torch.cat(biases, 2)[:, None].to(q)  # (M, 1, w*w, keys)
        mask = torch.cat(masks, 1)[None, :, None]  # (1, chunks, 1, keys)
        bias = bias.masked_fill(~mask, float('-inf'))  # (M, chunks, w*w, keys)
        if g:
            to_global = self.g2l_relative_position_bias[1][:, None, None].to(q)  # (M, 1, 1, g)
            bias = torch.cat([to_global.expand(-1, *bias.shape[1:3], -1), bias], 3)
            shape = (-1, -1, q.shape[2], -1, -1)
            keys.insert(0, k[:, :, None, :g].expand(*shape))
            values.insert(0, v[:, :, None, :g].expand(*shape))
        y = F.scaled_dot_product_attention(
            q, torch.cat(keys, 3), torch.cat(values, 3), attn_mask=bias
        )
        return self.join(y, grid, rows, columns)

    def chunks(self, x: Tensor, grid: tuple[int, int], margin: int) -> Tensor:
        """(B, M, N, c) -> (B, M, rows, columns, w*w, c), with ``margin`` empty chunks around."""
        w, around = self.window, margin * self.window
        x = x.unflatten(2, grid)  # (B, M, h, w, c)
        padding = (0, 0, around, -grid[1] % w + around, around, -grid[0] % w + around)
        x = F.pad(x, padding)
        b, m, h, width, c = x.shape
        x = x.view(b, m, h // w, w, width // w, w, c).transpose(3, 4)
        return x.flatten(4, 5)

    def join(self, x: Tensor, grid: tuple[int, int], rows: int, columns: int) -> Tensor:
        """(B, M, chunks, w*w, c) -> (B, M, N, c), padding cut off."""
        w = self.window
        b, m, _, _, c = x.shape
        x = x.view(b, m, rows, columns, w, w, c).transpose(3, 4)
        x = x.reshape(b, m, rows * w, columns * w, c)
        return x[:, :, : grid[0], : grid[1]].flatten(2, 3)


class Embed(nn.Module):
    """Patch projection, norm, and the stage's own global tokens."""

    def __init__(self, inner: int, dim: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inner, dim, patch, patch)
        self.norm_embed = nn.LayerNorm(dim, eps=1e-6)
        if tokens:
            self.cls_token = nn.Parameter(torch.zeros(1, tokens, dim))
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, H, W) -> tokens (B, g + h*w, dim), (h, w)."""
        x = self.proj(x)
        grid = (x.shape[2], x.shape[3])
        x = self.norm_embed(x.flatten(2).transpose(1, 2))
        if hasattr(self, 'cls_token'):
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return x, grid


class AttentionBlock(nn.Module):
    """Residual attention on normed tokens."""

    def __init__(self, dim: int, attn: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(dim, eps=1e-6), attn
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + N, C) -> the same shape."""
        return x + self.drop_path(self.attn(self.norm(x), grid))


class MlpBlock(nn.Module):
    """Residual MLP on normed tokens."""

    def __init__(self, dim: int, ratio: float, drop: float) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(dim, eps=1e-6), Mlp(dim, int(dim * ratio))
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, g + N, C) -> the same shape."""
        return x + self.drop_path(self.mlp(self.norm(x)))


@MODELS.register_module()
class ViL(Backbone):
    """Vision longformer of EsViT; the default is the published ``vil_2262``.

    Features are the mean of the final tokens, or the last stage's global token where it has
    one. ``mode`` is that of `SlidingAttention`; ``img_size`` fixes the bias tables of full
    stages.
    """

    def __init__(
        self,
        arch: str = VIL_2262,
        img_size: int = 224,
        mlp_ratio: float = 4.0,
        mode: int = 1,
        drop_path_rate: float = 0.0,
        **dense: Any,
    ) -> None:
        super().__init__(**dense)
        self.stages = parse_arch(arch)
        depth = sum(stage['n'] for stage in self.stages)
        drops = iter(torch.linspace(0, drop_path_rate, depth, device='cpu').tolist())
        self.net, inner, side = nn.Module(), 3, img_size
        for i, stage in enumerate(self.stages):
            dim, side = stage['d'], side // stage['p']
            layers: list[nn.Module] = [Embed(inner, dim, stage['p'], stage['g'])]
            for _ in range(stage['n']):
                drop = next(drops)
                attention = (
                    SlidingAttention(dim, stage['h'], stage['g'], stage['f'], mode)
                    if stage['s']
                    else FullAttention(dim, stage['h'], stage['g'], side)
                )
                layers += [AttentionBlock(dim, attention, drop), MlpBlock(dim, mlp_ratio, drop)]
            setattr(self.net, f'layer{i + 1}', nn.Sequential(*layers))
            inner = dim
        self.net.norm = nn.LayerNorm(inner, eps=1e-6)
        self.widths = tuple(stage['d'] for stage in self.stages)
        self.num_features = self.widths[-1]
        counts = [stage['n'] for stage in self.stages]
        self.stage_ends = tuple(sum(counts[: i + 1]) - 1 for i in range(len(counts)))
        self.apply(self._init)
        self.freeze()

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    def stream(self, x: Tensor, mask: Tensor | None = None) -> Iterator[Tokens]:
        """Yield global tokens and grid after each block; masks are not defined here."""
        if mask is not None:
            raise UserError('ViL takes no patch mask; use a ViT for masked objectives')
        for i, stage in enumerate(self.stages):
            layer, g = getattr(self.net, f'layer{i + 1}'), stage['g']
            tokens, grid = layer[0](x)
            for j in range(stage['n']):
                tokens = layer[2 + 2 * j](layer[1 + 2 * j](tokens, grid))
                last = tokens[:, g:].unflatten(1, grid)  # (B, h, w, C)
                yield Tokens(tokens[:, :g] if g else None, last)
            x = last.permute(0, 3, 1, 2)  # (B, C, h, w)

    def finish(self, tokens: Tokens) -> Tokens:
        """Apply the final norm."""
        cls = None if tokens.cls is None else self.net.norm(tokens.cls)
        return Tokens(cls, self.net.norm(tokens.grid))

    def stem_and_stages(self) -> tuple[list[nn.Module | nn.Parameter], list[list[nn.Module]]]:
        """Return ([first embedding], [its blocks], [stage 2], ...)."""
        layers = [getattr(self.net, f'layer{i + 1}') for i in range(len(self.stages))]
        return [layers[0][0]], [list(layers[0][1:]), *([layer] for layer in layers[1:])]
