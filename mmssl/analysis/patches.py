"""Colour the patches of images by the principal components of their features."""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def patch_colors(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """First three principal components of tokens (B, N, C) as RGB in 0..1 -> (B, h, w, 3).

    The mean over the patches of each image is subtracted first. The components are shared by all
    images, so that equal colours mean equal features; each is scaled from its 2nd to its 98th
    percentile, and its sign makes its channel of the largest weight positive.
    """
    rows = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 1).double()  # (B*N, C)
    axes = torch.linalg.svd(rows, full_matrices=False).Vh[:3]  # (3, C)
    heaviest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    parts = rows @ (axes * heaviest.sign()).T  # (B*N, 3)
    low, high = parts.quantile(0.02, 0), parts.quantile(0.98, 0)
    colors = ((parts - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return F.pad(colors, (0, 3 - colors.shape[1])).view(len(tokens), *grid, 3).float()
