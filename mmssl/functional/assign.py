"""Soft assignments to prototypes: Sinkhorn-Knopp (SwAV) and centred softmax (DINO)."""

import torch
from torch import Tensor

from ..core import dist
from ..core.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments of equal size to K prototypes, by Sinkhorn-Knopp: (B, K) -> (B, K).

    Normalises exp(scores / epsilon) so that each row sums to 1 and all columns, over all ranks,
    have equal sums (Caron et al. 2020, eq. 3; ``distributed_sinkhorn`` of ``main_swav.py``). B
    must be the same on every rank.
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
    """Teacher targets softmax((scores - center) / temperature): (..., K), (K,) -> (..., K).

    Centring and sharpening of DINO (Caron et al. 2021, sec. 3.1; ``DINOLoss``).
    """
    return ((scores - center) / temperature).softmax(-1)
