"""Collectives that are the identity on one process.

Tensors of a device travel over the default group, host values (CPU tensors, Python objects,
barriers) over a group that serves the CPU: an NCCL group refuses them. Every function here picks
the group by itself.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch import distributed as td

from .errors import UserError
from .watchdog import collective

Result = TypeVar('Result')


def active() -> bool:
    """Whether a process group is up."""
    return td.is_available() and td.is_initialized()


def rank() -> int:
    """Return the index of this process."""
    return td.get_rank() if active() else 0


def world_size() -> int:
    """Return the number of processes."""
    return td.get_world_size() if active() else 1


_limit: timedelta | None = None  # of a collective; None is torch's own, 10 minutes for NCCL
_host: tuple[Any, Any] | None = None  # (default group, its host group)


def set_limit(limit: timedelta) -> None:
    """Set how long a collective may take on the groups that are made from now on."""
    global _limit
    _limit = limit


def new_group(ranks: list[int] | None = None, backend: str | None = None) -> Any:
    """Return a group of some ranks, or of all, with the limit that was set; all ranks call it."""
    return td.new_group(ranks, timeout=_limit, backend=backend)


def host_group() -> Any:
    """Return the group for host values: the default one where it serves the CPU, else a gloo one.

    The first call on a default group without CPU support is a collective; `init_distributed` makes
    it.
    """
    global _host
    default = td.group.WORLD
    if 'cpu' in td.get_backend_config():
        return default
    if _host is None or _host[0] is not default:
        # pairs connect when they first talk: all pairs of 1,024 processes are half a million
        os.environ.setdefault('TORCH_GLOO_LAZY_INIT', '1')
        _host = (default, new_group(backend='gloo'))
    return _host[1]


def _group(x: Tensor) -> Any:
    """Return the group that carries a tensor of x's device."""
    return host_group() if x.device.type == 'cpu' else td.group.WORLD


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """Concatenate equal-sized (B, ...) of all ranks in rank order -> (W*B, ...), no gradient."""
    if world_size() == 1:
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    with collective('gather'):
        td.all_gather(parts, x.detach().contiguous(), group=_group(x))
    return torch.cat(parts)


@torch.no_grad()
def gather_uneven(x: Tensor) -> Tensor:
    """Concatenate (B_r, ...) of all ranks, whose B_r may differ, in rank order."""
    if world_size() == 1:
        return x.detach()
    sizes = gather(torch.tensor([len(x)], device=x.device)).tolist()
    padded = x.new_zeros((max(sizes), *x.shape[1:]))
    padded[: len(x)] = x
    parts = gather(padded).split(max(sizes))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


@torch.no_grad()
def sum_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of x (any shape) over ranks."""
    if world_size() == 1:
        return x
    total = x.clone()
    with collective('sum'):
        td.all_reduce(total, group=_group(total))
    return total


@torch.no_grad()
def largest_over_ranks(x: Tensor) -> Tensor:
    """Return the largest of every element of x (any shape) over ranks."""
    if world_size() == 1:
        return x
    most = x.clone()
    with collective('agreement'):
        td.all_reduce(most, td.ReduceOp.MAX, group=_group(most))
    return most


@torch.no_grad()
def from_rank_zero(x: Tensor) -> Tensor:
    """Return rank 0's x (*), of the same shape and type everywhere."""
    if world_size() > 1:
        x = x.clone()
        with collective('broadcast'):
            td.broadcast(x, src=0, group=_group(x))
    return x


def object_from_rank_zero(value: Any) -> Any:
    """Return rank 0's plain Python value."""
    if world_size() == 1:
        return value
    box = [value]
    with collective('broadcast of a value'):
        td.broadcast_object_list(box, src=0, group=host_group())
    return box[0]


def call_on_rank_zero(call: Callable[[], Result]) -> Result:
    """Call a function on rank 0 alone; all ranks return its plain value or raise its UserError."""
    if world_size() == 1:
        return call()
    result: tuple[Result | None, UserError | None] = (None, None)
    if rank() == 0:
        try:
            result = call(), None
        except UserError as error:
            result = None, error.with_traceback(None)
    value, problem = object_from_rank_zero(result)
    if problem is not None:
        raise problem
    return cast(Result, value)


def gather_objects(value: Any) -> list[Any]:
    """Return the plain Python values of all ranks, in rank order."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with collective('gather of values'):
        td.all_gather_object(values, value, group=host_group())
    return values


def wait() -> None:
    """Let all ranks meet."""
    if world_size() > 1:
        with collective('barrier'):
            td.barrier(group=host_group())


def seed_streams(seed: int) -> None:
    """Give this rank generators of its own: torch's for drop path, numpy's for timm's mixup."""
    torch.manual_seed(seed + rank())
    np.random.seed((seed + rank()) % 2**32)
