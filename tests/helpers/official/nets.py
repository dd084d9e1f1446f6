"""Networks in the layouts of the official codes: dense, slow and plain."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Block = dict[str, Any]


# vision transformer -------------------------------------------------------------------------------
class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) * (c // self.heads) ** -0.5  # (B, M, N, N)
        if bias is not None:
            scores = scores + bias
        found: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))
        return found


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        found: Tensor = self.fc2(0.5 * x * (1 + torch.erf(x / math.sqrt(2))))
        return found


class ViTBlock(nn.Module):
    def __init__(self, dim: int, heads: int, ratio: float, eps: float) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps), Mlp(dim, int(dim * ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class PatchConv(nn.Module):
    def __init__(self, dim: int, patch: int, norm_eps: float | None = None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)
        if norm_eps is not None:
            self.norm = nn.LayerNorm(dim, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).permute(0, 2, 3, 1)  # (B, h, w, C)
        return self.norm(x) if hasattr(self, 'norm') else x


class ViT(nn.Module):
    """`forward` returns tokens (B, 1 + N, C) before and after the last norm."""

    def __init__(self, b: Block, masks: bool = False) -> None:
        super().__init__()
        dim, self.side = b['embed_dim'], b['image_size'] // b['patch_size']
        self.cls_token = nn.Parameter(0.1 * torch.randn(1, 1, dim))
        self.pos_embed = nn.Parameter(0.1 * torch.randn(1, 1 + self.side**2, dim))
        if masks:
            self.masked_embed = nn.Parameter(0.1 * torch.randn(1, dim))
        self.patch_embed = PatchConv(dim, b['patch_size'])
        shape = (dim, b['num_heads'], b['mlp_ratio'], b['norm_eps'])
        self.blocks = nn.ModuleList(ViTBlock(*shape) for _ in range(b['depth']))
        self.norm = nn.LayerNorm(dim, b['norm_eps'])
        if b['positions'] == 'sincos':
            self.pos_embed = nn.Parameter(sincos(self.side, dim), requires_grad=False)
        if b.get('frozen_patch_embed'):
            self.patch_embed.requires_grad_(False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.patch_embed(x)  # (B, h, w, C)
        if mask is not None:
            x = torch.where(mask[..., None], self.masked_embed.view(1, 1, 1, -1), x)
        side = x.shape[1]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], 1)
        x = x + self.positions(side)
        for block in self.blocks:
            x = block(x)
        return x, self.norm(x)

    def positions(self, side: int) -> Tensor:
        if side == self.side:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        scale = (side + 0.1) / self.side
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode='bicubic')
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def sincos(side: int, dim: int) -> Tensor:
    rows = []
    for i in range(side):
        for j in range(side):
            omega = [10000 ** (-k / (dim // 4)) for k in range(dim // 4)]
            row = [math.sin(i * o) for o in omega] + [math.cos(i * o) for o in omega]
            rows.append(row + [math.sin(j * o) for o in omega] + [math.cos(j * o) for o in omega])
    return torch.tensor([[[0.0] * dim, *rows]])


# Swin ---------------------------------------------------------------------------------------------
class WindowAttention(Attention):
    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__(dim, heads)
        table = 0.3 * torch.randn((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(table)
        at = torch.tensor([(r, c) for r in range(window) for c in range(window)])
        step = at[:, None] - at[None] + window - 1  # (w*w, w*w, 2), query minus key
        index = step[..., 0] * (2 * window - 1) + step[..., 1]
        self.register_buffer('relative_position_index', index)

    def bias(self) -> Tensor:
        table = self.relative_position_bias_table[self.relative_position_index]
        return table.permute(2, 0, 1)[None]  # (1, M, w*w, w*w)


class TokenNorm(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).view_as(x)


class SwinBlock(nn.Module):
    def __init__(self, dim: int, heads: int, window: int, shift: int, b: Block) -> None:
        super().__init__()
        self.window, self.shift, eps = window, shift, b['norm_eps']
        self.norm1, self.attn = nn.LayerNorm(dim, eps), WindowAttention(dim, heads, window)
        batch = b.get('norm_before_mlp') == 'batch'
        self.norm2 = TokenNorm(dim) if batch else nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, int(dim * b['mlp_ratio']))

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        s, size = self.shift, self.window
        y = F.pad(self.norm1(x), (0, 0, 0, -w % size, 0, -h % size))
        y = torch.roll(y, (-s, -s), (1, 2)) if s else y
        label = self.regions(*y.shape[1:3])
        out = torch.empty_like(y)
        for top in range(0, y.shape[1], size):
            for left in range(0, y.shape[2], size):
                part = (slice(None), slice(top, top + size), slice(left, left + size))
                flat, kind = y[part].flatten(1, 2), label[part[1:]].flatten()
                apart = torch.where(kind[:, None] == kind[None], 0.0, -100.0).to(x)
                done = self.attn(flat, self.attn.bias() + apart)
                out[part] = done.unflatten(1, (size, size))
        out = torch.roll(out, (s, s), (1, 2)) if s else out
        x = x + out[:, :h, :w]
        found: Tensor = x + self.mlp(self.norm2(x))
        return found

    def regions(self, height: int, width: int) -> Tensor:
        def bands(n: int) -> Tensor:
            at = torch.arange(n)
            return (at >= n - self.window).long() + (at >= n - self.shift).long()

        if not self.shift:
            return torch.zeros(height, width)
        return 3 * bands(height)[:, None] + bands(width)[None]


class Merging(nn.Module):
    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim, eps)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = [x[:, r::2, c::2] for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))]
        found: Tensor = self.reduction(self.norm(torch.cat(parts, -1)))
        return found


class SwinStage(nn.Module):
    def __init__(self, i: int, side: int, last: bool, b: Block) -> None:
        super().__init__()
        dim, heads = b['embed_dim'] * 2**i, b['num_heads'][i]
        whole = side <= b['window_size']
        window, half = (side, 0) if whole else (b['window_size'], b['window_size'] // 2)
        shifts = [half if j % 2 else 0 for j in range(b['depths'][i])]
        self.blocks = nn.ModuleList(SwinBlock(dim, heads, window, s, b) for s in shifts)
        if not last:
            self.downsample = Merging(dim, b['norm_eps'])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x) if hasattr(self, 'downsample') else x


class Swin(nn.Module):
    """`forward` returns tokens (B, N, C) after the last norm."""

    def __init__(self, b: Block) -> None:
        super().__init__()
        side, stages = b['image_size'] // b['patch_size'], len(b['depths'])
        if b.get('absolute_positions'):
            table = 0.1 * torch.randn(1, side * side, b['embed_dim'])
            self.absolute_pos_embed = nn.Parameter(table)
        self.patch_embed = PatchConv(b['embed_dim'], b['patch_size'], b['norm_eps'])
        self.layers = nn.ModuleList(
            SwinStage(i, side // 2**i, i == stages - 1, b) for i in range(stages)
        )
        self.norm = nn.LayerNorm(b['embed_dim'] * 2 ** (stages - 1), b['norm_eps'])

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if hasattr(self, 'absolute_pos_embed'):
            x = x + self.absolute_pos_embed.view(1, *x.shape[1:])
        for layer in self.layers:
            x = layer(x)
        found: Tensor = self.norm(x).flatten(1, 2)
        return found
