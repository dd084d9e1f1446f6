"""Norms of tensors of which each rank may hold a part."""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from ..core import dist


def tensor_norms(tensors: list[Tensor]) -> Tensor:
    """Return the norm of each of N tensors, whole ones or shards, (N,); in one collective."""
    norms = torch.stack(torch._foreach_norm([local_part(x) for x in tensors]))
    sharded = [isinstance(x, DTensor) and any(p.is_shard() for p in x.placements) for x in tensors]
    if not any(sharded):
        return norms
    total = dist.sum_over_ranks(norms.square()).sqrt()
    return torch.where(torch.tensor(sharded, device=norms.device), total, norms)


def local_part(value: Tensor) -> Tensor:
    """Return the part of a tensor (any shape) that lies on this rank, sharing its memory."""
    return value.to_local() if isinstance(value, DTensor) else value
