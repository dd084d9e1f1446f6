"""Batch shuffling over ranks (MoCo v1), so that batch norm cannot tell queries from keys."""

import torch
from torch import Tensor

from ..core import dist


@torch.no_grad()
def shuffle(x: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Exchange images (B, ...) of all ranks at random; return (this rank's new ones, order).

    ``order`` (W*B,) is rank 0's random permutation unless given.
    """
    everything = dist.gather(x)
    if order is None:
        order = dist.from_rank_zero(torch.randperm(len(everything), device=x.device))
    mine = order.view(dist.world_size(), -1)[dist.rank()]
    return everything[mine], order


@torch.no_grad()
def unshuffle(x: Tensor, order: Tensor) -> Tensor:
    """Bring results (B, ...) of `shuffle` back to the ranks and rows of their images."""
    everything = dist.gather(x)
    mine = order.argsort().view(dist.world_size(), -1)[dist.rank()]
    return everything[mine]
