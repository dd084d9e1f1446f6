"""Batch shuffling over ranks (MoCo v1), so that batch norm cannot tell queries from keys."""

import torch
from torch import Tensor

from ..core import dist


@torch.no_grad()
def shuffle(x: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Shuffle the images of all W ranks: (B, ...) -> this rank's new images (B, ...) and the order.

    ``order`` (W*B,) is rank 0's random permutation unless given (MoCo v1, sec. 3.3;
    ``_batch_shuffle_ddp`` in ``moco/builder.py``).
    """
    everything = dist.gather(x)
    if order is None:
        order = dist.from_rank_zero(torch.randperm(len(everything), device=x.device))
    mine = order.view(dist.world_size(), -1)[dist.rank()]
    return everything[mine], order


@torch.no_grad()
def unshuffle(x: Tensor, order: Tensor) -> Tensor:
    """Undo `shuffle` for results of its images: (B, ...), order (W*B,) -> (B, ...)."""
    everything = dist.gather(x)
    mine = order.argsort().view(dist.world_size(), -1)[dist.rank()]
    return everything[mine]
