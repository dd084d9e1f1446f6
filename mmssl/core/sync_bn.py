"""Synchronised batch normalisation for any device.

torch's SyncBatchNorm refuses CPU tensors, so runs without a GPU could not be checked against
one process. Here the sums travel through a differentiable all-reduce.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from . import dist
from .errors import UserError
from .watchdog import collective


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the joined batch of all ranks, or of a ``group``; x (B, C) or (B, C, ...).

    Raises ValueError when this rank's batch is empty.
    """

    group: Any = None  # a process group; None is that of all ranks

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2 or x.numel() == 0:
            raise ValueError(f'SyncBatchNorm needs a non-empty (B, C, ...) batch, got {x.shape}')

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, ...) with statistics over all ranks in training."""
        self._check_input_dim(x)
        if not self.training or dist.world_size() == 1:
            return super().forward(x)
        axes = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = x.new_full((1,), x.numel() / x.shape[1])
        with collective('batch norm'):
            sums = all_reduce(torch.cat([x.sum(axes), count]), group=self.group)  # (C + 1)
        count = sums[-1:].detach()
        mean = sums[:-1] / count
        offset = x - mean.view(shape)
        with collective('batch norm'):
            variance = all_reduce(offset.square().sum(axes), group=self.group) / count
        self._move_running(mean.detach(), variance.detach(), count)
        y = offset * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        found: Tensor = y
        return found

    @torch.no_grad()
    def _move_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # cumulative average
            share = 1.0 / float(self.num_batches_tracked)
        unbiased = variance * count / (count - 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def read_sync_bn(settings: Any) -> tuple[bool, int | None]:
    """Return (whether batch norms are synchronised, ranks in a group or None for all).

    ``settings`` is the config's ``sync_bn``: None, False, True, 'torch' or dict(group_size=N).
    Raises UserError for others.
    """
    if settings in (None, False):
        return False, None
    if settings is True or settings == 'torch':
        return True, None
    size = settings.get('group_size') if isinstance(settings, dict) else None
    if not isinstance(size, int) or size < 1 or len(settings) > 1:
        raise UserError(
            f"sync_bn={settings}: give 'torch' (all processes) or dict(group_size=N)",
            key='sync_bn',
            value=settings,
        )
    return True, size


def sync_group(size: int | None) -> Any:
    """Return the group of ``size`` consecutive ranks that this one is in; None for all ranks.

    A collective call. Raises UserError when the ranks cannot be divided so.
    """
    world = dist.world_size()
    if size is None or size >= world:
        return None
    if world % size:
        raise UserError(
            f'sync_bn.group_size={size} does not divide {world} processes; choose one that does, '
            "or sync_bn='torch' for all of them",
            key='sync_bn.group_size',
            value=size,
        )
    mine = None
    for first in range(0, world, size):  # every rank takes part in making every group
        group = dist.new_group(list(range(first, first + size)))
        if first <= dist.rank() < first + size:
            mine = group
    return mine


def convert_sync_bn(module: nn.Module, device: str, group: Any = None) -> nn.Module:
    """Replace every batch norm below ``module``; torch's own kernel on CUDA, ours elsewhere.

    ``group`` is the process group that shares statistics, all ranks where it is None.
    """
    if device == 'cuda':
        found: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module, group)
        return found
    for name, child in module.named_children():
        setattr(module, name, convert_sync_bn(child, device, group))
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or isinstance(module, SyncBatchNorm):
        return module
    sync = SyncBatchNorm(
        module.num_features,
        module.eps,
        module.momentum,
        module.affine,
        module.track_running_stats,
    )
    sync.__dict__.update({k: v for k, v in module.__dict__.items() if k in ('training',)})
    sync._parameters = module._parameters
    sync._buffers = module._buffers
    sync.group = group
    return sync
