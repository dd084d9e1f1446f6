"""Attention of ViL: full, and sliding over neighbouring chunks (Zhang et al. 2021)."""

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.table_cache import remembered
from ...functional.resize import resize
from .attention import weights

# offsets of the eight neighbour chunks, in the official order
AROUND = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))


@remembered
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
        self.tokens = tokens
        self.local_relative_position_bias_table = nn.Parameter(torch.zeros(table, heads))
        nn.init.trunc_normal_(self.local_relative_position_bias_table, std=0.02)
        if tokens:
            self.g2l_relative_position_bias = nn.Parameter(torch.zeros(2, heads, tokens))
            self.g2g_relative_position_bias = nn.Parameter(torch.zeros(heads, tokens, tokens))
            nn.init.trunc_normal_(self.g2l_relative_position_bias, std=0.02)
            nn.init.trunc_normal_(self.g2g_relative_position_bias, std=0.02)

    def with_globals(self, local: Tensor) -> Tensor:
        """Grow a grid-grid bias (heads, N, N) to (heads, g + N, g + N)."""
        if not self.tokens:
            return local
        heads, n, _ = local.shape
        to_grid, to_global = self.g2l_relative_position_bias  # (heads, g) each
        above = torch.cat(
            [self.g2g_relative_position_bias, to_grid[..., None].expand(-1, -1, n)], 2
        )
        below = torch.cat([to_global[:, None].expand(heads, n, -1), local], 2)
        return torch.cat([above, below], 1)


def _assembled(table: Tensor, height: int, width: int) -> Tensor:
    """Offsets ((2h - 1) * (2w - 1), heads) -> bias of every pair (heads, h * w, h * w)."""
    rows, columns = (torch.arange(n, device=table.device) for n in (height, width))
    down = rows[:, None] - rows + height - 1  # (h, h), query minus key
    right = columns[:, None] - columns + width - 1  # (w, w)
    index = down[:, None, :, None] * (2 * width - 1) + right[None, :, None, :]
    n = height * width
    return table[index.reshape(n, n)].permute(2, 0, 1)


class FullAttention(_Biased):
    """Attention among all tokens; for other resolutions its bias is resized like an image."""

    def __init__(self, dim: int, heads: int, tokens: int, side: int) -> None:
        super().__init__(heads, tokens, (2 * side - 1) ** 2)
        self.heads = heads
        self.side = side
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def bias(self, grid: tuple[int, int]) -> Tensor:
        """Return the grid-grid bias (heads, N, N) with N = h * w.

        Other square grids resize the assembled matrix as an image, as the official code does;
        for the rest, which it refuses, the table of offsets is resized.
        """
        side, table = self.side, self.local_relative_position_bias_table
        if grid[0] == grid[1]:
            bias = _assembled(table, side, side)
            n = grid[0] ** 2
            return bias if n == side**2 else resize(bias, n, n, 'bicubic')
        image = table.view(2 * side - 1, 2 * side - 1, -1).permute(2, 0, 1)
        image = resize(image, 2 * grid[0] - 1, 2 * grid[1] - 1, 'bicubic')
        return _assembled(image.flatten(1).T, *grid)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + h*w, C), global ones first -> the same shape."""
        q, k, v, bias = self.parts(x, grid)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        found: Tensor = self.proj(y.transpose(1, 2).reshape(x.shape))
        return found

    def parts(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q, k, v (B, heads, g + N, c) and bias (heads, g + N, g + N)."""
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v, self.with_globals(self.bias(grid)).to(q).contiguous()

    def weights(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the weights (B, heads, g + N, g + N) of tokens (B, g + N, C)."""
        q, k, _, bias = self.parts(x, grid)
        return weights(q, k, bias=bias)


class SlidingAttention(_Biased):
    """Chunks of w x w tokens attend to themselves, to neighbour chunks and to global tokens.

    ``mode`` 0: all eight neighbours; -1: none; above 0: one drawn at random in training at
    each call, all eight otherwise. Global tokens attend to everything with the same weights.
    """

    def __init__(self, dim: int, heads: int, tokens: int, window: int, mode: int) -> None:
        super().__init__(heads, tokens, (4 * window - 1) ** 2)
        self.heads = heads
        self.tokens = tokens
        self.window = window
        self.mode = mode
        self.query = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def neighbours(self) -> list[tuple[int, int]]:
        """Return the chunks that are attended to, as offsets (row, column)."""
        if self.mode == -1:
            return [(0, 0)]
        if self.mode > 0 and self.training:
            return [(0, 0), AROUND[random.randrange(1, 9) - 1]]
        return [(0, 0), *AROUND]

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, g + h*w, C), global ones first -> the same shape."""
        n, g = x.shape[1], self.tokens
        q, k, v = self.projected(x)
        y = self.local(q[:, :, g:], k, v, grid)  # (B, M, N, C/M)
        if g:
            bias = self.with_globals(q.new_zeros(self.heads, 1, 1))
            over = torch.cat(
                [bias[:, :g, :g], bias[:, :g, g:].expand(-1, -1, n - g)], 2
            )  # (M, g, g + N)
            top = F.scaled_dot_product_attention(q[:, :, :g], k, v, attn_mask=over.to(q)[None])
            y = torch.cat([top, y], 2)
        found: Tensor = self.proj(y.transpose(1, 2).reshape(x.shape))
        return found

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of M heads: (B, g + N, C) -> (B, M, g + N, C/M) each."""
        b, n, _ = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.kv(x).view(b, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v

    def weights(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return weights (B, chunks, heads, w*w, g + chunks seen * w*w) of grid queries.

        Keys are the global tokens, the own chunk, then its neighbours in the order of `AROUND`.
        """
        q, k, v = self.projected(x)
        q, keys, _, bias = self.nearby(q[:, :, self.tokens :], k, v, grid)
        return weights(q, keys, bias=bias).transpose(1, 2)

    def local(self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
        """Attend from grid tokens to global and nearby ones.

        q (B, M, N, c), k and v (B, M, g + N, c) -> (B, M, N, c).
        """
        q, k, v, bias = self.nearby(q, k, v, grid)
        q, k, v = (t.flatten(1, 2) for t in (q, k, v))  # fused attention takes four dimensions
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(0, 1)[None])
        return self.join(y.unflatten(1, bias.shape[:2]), grid)

    def nearby(
        self, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return q (B, M, chunks, w*w, c), k, v (..., keys, c), bias (M, chunks, w*w, keys).

        Keys are the global tokens, the own chunk, then the `neighbours`.
        """
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
            index = _offsets(w, row, column, device=q.device)
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
        return q, torch.cat(keys, 3), torch.cat(values, 3), bias

    def chunks(self, x: Tensor, grid: tuple[int, int], margin: int) -> Tensor:
        """Split a map into chunks, with ``margin`` empty ones around it.

        (B, M, N, c) -> (B, M, rows, columns, w*w, c).
        """
        w, around = self.window, margin * self.window
        x = x.unflatten(2, grid)  # (B, M, h, w, c)
        padding = (0, 0, around, -grid[1] % w + around, around, -grid[0] % w + around)
        x = F.pad(x, padding)
        b, m, h, width, c = x.shape
        x = x.view(b, m, h // w, w, width // w, w, c).transpose(3, 4)
        return x.flatten(4, 5)

    def join(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Join chunks and cut off the padding: (B, M, chunks, w*w, c) -> (B, M, N, c)."""
        w = self.window
        rows, columns = -(-grid[0] // w), -(-grid[1] // w)
        b, m, _, _, c = x.shape
        x = x.view(b, m, rows, columns, w, w, c).transpose(3, 4)
        x = x.reshape(b, m, rows * w, columns * w, c)
        return x[:, :, : grid[0], : grid[1]].flatten(2, 3)
