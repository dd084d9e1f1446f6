"""Self-relations of feature maps (SERE): of channels, of positions, aligned between views."""

import torch
from torch import Tensor

from ..core.precision import full_precision


@full_precision
def channel_relation(x: Tensor, divisor: float) -> Tensor:
    """Relation of channels, F F^T with F = x / divisor over tokens: (B, C, h, w) -> (B, C, C)."""
    x = x.flatten(2) / divisor  # (B, C, N)
    return x @ x.transpose(1, 2)


@full_precision
def spatial_relation(x: Tensor, heads: int) -> Tensor:
    """Relation of the N = h * w positions in each head: (B, C, h, w) -> (B, heads, N, N).

    Inner products of head channels times (C / heads)^-0.5, without a softmax.
    """
    b, c = x.shape[:2]
    x = x.flatten(2).view(b, heads, c // heads, -1).transpose(2, 3)  # (B, M, N, C/M)
    found: Tensor = x @ x.transpose(2, 3) * (c // heads) ** -0.5
    return found


@torch.no_grad()
def overlap_grids(box_a: Tensor, box_b: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sampling grids of the overlap of two crops, one for each crop: two of (B, size, size, 2).

    Boxes are (B, 5): x, y, w, h in source pixels and 1 for flipped. Points run from edge to edge
    inclusive, in the coordinates of ``grid_sample`` (x, y in [-1, 1]); equal indices of the two
    grids are the same source pixel. -2, outside the map, where crops do not overlap
    (``transforms_overlap.py``). Always in float32, which gives the official values bit for bit.
    """
    a = box_a.float()
    b = box_b.float()
    low = torch.maximum(a[:, :2], b[:, :2])  # (B, 2): x, y
    high = torch.minimum(a[:, :2] + a[:, 2:4], b[:, :2] + b[:, 2:4])
    apart = (high <= low).any(1)
    return _points(a, low, high, size, apart), _points(b, low, high, size, apart)


def _points(box: Tensor, low: Tensor, high: Tensor, size: int, apart: Tensor) -> Tensor:
    """Grid (B, size, size, 2) of rectangles low to high (B, 2) in boxes (B, 5); apart (B,)."""
    begin = (low - box[:, :2]) / box[:, 2:4]  # (B, 2), shares of the crop
    extent = (high - low) / box[:, 2:4]
    steps = torch.arange(size, dtype=torch.float32, device=box.device)
    points = begin[:, None] + steps[None, :, None] * extent[:, None] / (size - 1)  # (B, s, 2)
    x = points[..., 0]
    y = points[..., 1]
    x = torch.where(box[:, 4:5] > 0, 1 - x, x)
    grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    grid = grid * 2 - 1
    return torch.where(apart[:, None, None, None], torch.full_like(grid, -2), grid)


@full_precision
def sample_relation(relation: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample both sides of a spatial relation (B, M, N, N) of a square map at two grids.

    rows (B, s, s, 2), columns (B, t, t, 2) -> (B, M, s*s, t*t); bilinear, zeros outside, in at
    least float32.
    """
    relation = _sample_keys(relation, columns)  # (B, M, N, t*t)
    return _sample_keys(relation.transpose(2, 3), rows).transpose(2, 3)


@full_precision
def sample_relations(relation: Tensor, grids: Tensor) -> Tensor:
    """Resample both sides of spatial relations (B, M, N, N) of square maps at P grids each.

    grids (P, B, s, s, 2) -> (P, B, M, s*s, s*s), as `sample_relation` with equal grids does.
    """
    count, b, size = grids.shape[:3]
    _, heads, n, _ = relation.shape
    weights = _weights(grids.to(relation).flatten(0, 1), round(n**0.5))  # (P * B, s*s, N)
    keys = weights.unflatten(0, (count, b)).permute(1, 3, 0, 2).flatten(2)  # (B, N, P * s*s)
    x = relation.reshape(b, heads * n, n) @ keys  # (B, M * N, P * s*s)
    x = x.view(b, heads, n, count, size * size).permute(3, 0, 1, 4, 2)  # (P, B, M, s*s, N)
    x = x.reshape(count * b, heads * size * size, n) @ weights.transpose(1, 2)
    found: Tensor = x.view(count, b, heads, size * size, size * size).transpose(3, 4)
    return found


def _sample_keys(relation: Tensor, grid: Tensor) -> Tensor:
    """Resample the last axis: (B, M, Q, N), grid (B, s, s, 2) -> (B, M, Q, s*s)."""
    b, m, q, n = relation.shape
    side = round(n**0.5)
    weights = _weights(grid.to(relation), side)  # (B, s*s, N)
    return (relation.reshape(b, m * q, n) @ weights.transpose(1, 2)).view(b, m, q, -1)


def _weights(grid: Tensor, side: int) -> Tensor:
    """Bilinear weights (B, s*s, side*side) of a map's places at a grid (B, s, s, 2), 0 outside.

    Rows of a grid of `overlap_grids` share y and its columns x. `grid_sample` gives the same
    numbers to rounding, but CUDA's backward of it is not deterministic.
    """
    cells = torch.arange(side, dtype=grid.dtype, device=grid.device)
    x, y = (
        (1 - (((points + 1) * side - 1)[..., None] / 2 - cells).abs()).clamp_min(0)
        for points in (grid[:, 0, :, 0], grid[:, :, 0, 1])
    )  # (B, s, side) each
    return torch.einsum('bip,bjq->bijpq', y, x).flatten(3).flatten(1, 2)
