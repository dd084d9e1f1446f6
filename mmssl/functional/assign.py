"""Soft assignments to prototypes: Sinkhorn-Knopp (SwAV) and centred softmax (DINO)."""

import torch
from torch import Tensor

from ..core import dist
from ..core.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Equally sized soft clusters of scores (B, K) -> (B, K), rows summing to 1.

    Sinkhorn-Knopp on exp(scores / epsilon): columns of all ranks together share their mass
    equally, each row sums to 1 (Caron et al. 2020, eq. 3; ``distributed_sinkhorn`` of
    ``main_swav.py``). Every rank must bring the same B.
    """
    q = (scores / epsilon).exp()
    q = q / dist.sum_over_ranks(q.sum())
    rows = len(scores) * dist.world_size()
    prototypes = scores.shape[1]
    for _ in range(iterations):
        q = q / (dist.sum_over_ranks(q.sum(0, keepdim=True)) * prototypes)
        q = q / (q.sum(1, keepdim=True) * rows)
    return q * rows


@torch.no_grad()
@full_precision
def centered_softmax(scores: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Sharpened targets softmax((scores - center) / temperature): (..., K), (K,) -> (..., K)."""
    return ((scores - center) / temperature).softmax(-1)
