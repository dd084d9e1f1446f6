"""Self-relations of SERE and their alignment, point by point."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RelationHead(nn.Module):
    """Projection z and prediction p of a map (B, C, h, w)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(nn.BatchNorm2d(dim), nn.ReLU())
        conv = nn.Conv2d(dim, dim, 1, bias=False)
        self.predictor = nn.Sequential(conv, nn.BatchNorm2d(dim), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.projection(x)
        return z, self.predictor(z)


def channel_relation(x: Tensor, divisor: float) -> Tensor:
    """(B, C, h, w) -> (B, C, C)."""
    return torch.einsum('bchw,bdhw->bcd', x / divisor, x / divisor)


def spatial_relation(x: Tensor, heads: int) -> Tensor:
    """(B, C, h, w) -> (B, M, N, N)."""
    x = x.flatten(2).unflatten(1, (heads, -1))  # (B, M, C/M, N)
    found: Tensor = torch.einsum('bmcn,bmck->bmnk', x, x) * x.shape[2] ** -0.5
    return found


def grids(box_a: Tensor, box_b: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Two alignment grids (B, size, size, 2), drawn point by point in float32."""
    found: list[list[Tensor]] = [[], []]
    for a, b in zip(box_a.tolist(), box_b.tolist(), strict=True):
        low = [max(a[i], b[i]) for i in (0, 1)]
        high = [min(a[i] + a[2 + i], b[i] + b[2 + i]) for i in (0, 1)]
        for rows, box in zip(found, (a, b), strict=True):
            if high[0] <= low[0] or high[1] <= low[1]:
                rows.append(torch.full((size, size, 2), -2.0))
                continue
            axes = []
            for i in (0, 1):
                start = torch.tensor(float(low[i] - box[i])) / box[2 + i]
                extent = torch.tensor(float(high[i] - low[i])) / box[2 + i]
                axes.append(
                    torch.stack([start + k * extent / (size - 1) for k in map(float, range(size))])
                )
            x = 1 - axes[0] if box[4] else axes[0]
            x, y = torch.meshgrid(x, axes[1], indexing='xy')
            rows.append(torch.stack([x, y], -1) * 2 - 1)
    return torch.stack(found[0]), torch.stack(found[1])


def weights(grid: Tensor, side: int) -> Tensor:
    """Bilinear weights (B, points, side * side) of a grid (B, s, s, 2), zeros outside."""
    cells = torch.eye(side * side, dtype=torch.float64).view(1, -1, side, side)
    taken = F.grid_sample(
        cells.expand(len(grid), -1, -1, -1), grid.double(), align_corners=False
    )  # (B, N, s, s)
    return taken.flatten(2).transpose(1, 2)


def resample(relation: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Both sides of (B, M, N, N) at two grids."""
    side = round(relation.shape[-1] ** 0.5)
    left, right = weights(rows, side)[:, None], weights(columns, side)[:, None]
    return left @ relation @ right.transpose(2, 3)
