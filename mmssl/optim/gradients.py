"""Clipping of gradients and freezing of groups, between backward and update."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ..core import Progress
from .shards import local_part


def read_clip(clip_grad: dict[str, Any] | None) -> tuple[dict[str, Any] | None, bool]:
    """Return the arguments of clipping, None without it, and whether each tensor has its bound."""
    clip = dict(clip_grad) if clip_grad else None
    return clip, bool(clip and clip.pop('each', False))


def gradients(params: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradients (any shapes) of the parameters that have one."""
    return [p.grad for p in params if p.grad is not None]


@torch.no_grad()
def clip(
    params: Sequence[nn.Parameter],
    norms: Sequence[float],
    max_norm: float,
    each: bool,
    norm_type: float = 2.0,
    **settings: Any,
) -> float | None:
    """Clip gradients as ``clip_grad_norm_`` does and return their norm, or ``each`` on its own.

    ``norms`` are the Euclidean ones of the gradients, one for each parameter, so that nothing is
    read from the device. One tensor at a time is DINO's way (``clip_gradients``).
    """
    grads = [local_part(grad) for grad in gradients(params)]
    if each:
        shares = [max_norm / (norm + 1e-6) for norm in norms]
        long = [(g, share) for g, share in zip(grads, shares, strict=True) if share < 1]
        if long:
            torch._foreach_mul_([g for g, _ in long], [share for _, share in long])
        return None
    if norm_type != 2:
        return float(clip_grad_norm_(params, max_norm, norm_type, **settings))
    norm = math.hypot(*norms)
    share = max_norm / (norm + 1e-6)
    if share < 1:
        torch._foreach_mul_(grads, share)
    return norm


def drop_frozen(groups: list[dict[str, Any]], progress: Progress) -> None:
    """Drop the gradients of groups whose ``frozen_epochs`` or ``frozen_iters`` are not over.

    The optimizer then touches neither these tensors, nor their decay, nor their state.
    """
    for group in groups:
        epochs, iters = group.get('frozen_epochs', 0), group.get('frozen_iters', 0)
        if progress.step < max(iters, epochs * progress.per_epoch):
            for parameter in group['params']:
                parameter.grad = None
