"""Clipping of gradients and freezing of groups, between backward and update."""

from typing import Any

import torch
from torch import nn

from ..core import Progress
from .shards import local_part, tensor_norms


def read_clip(clip_grad: dict[str, Any] | None) -> tuple[dict[str, Any] | None, bool]:
    """Return the arguments of clipping, None without it, and whether each tensor has its bound."""
    clip = dict(clip_grad) if clip_grad else None
    return clip, bool(clip and clip.pop('each', False))


@torch.no_grad()
def clip_each(params: list[nn.Parameter], max_norm: float) -> None:
    """Bound the norm of every tensor's gradient on its own (DINO's ``clip_gradients``)."""
    grads = [p.grad for p in params if p.grad is not None]
    if grads:
        parts = [local_part(g) for g in grads]
        shares = (max_norm / (tensor_norms(grads) + 1e-6)).tolist()
        long = [(g, share) for g, share in zip(parts, shares, strict=True) if share < 1]
        if long:
            torch._foreach_mul_([g for g, _ in long], [share for _, share in long])


def drop_frozen(groups: list[dict[str, Any]], progress: Progress) -> None:
    """Drop the gradients of groups whose ``frozen_epochs`` or ``frozen_iters`` are not over.

    The optimizer then touches neither these tensors, nor their decay, nor their state.
    """
    for group in groups:
        epochs, iters = group.get('frozen_epochs', 0), group.get('frozen_iters', 0)
        if progress.step < max(iters, epochs * progress.per_epoch):
            for parameter in group['params']:
                parameter.grad = None
