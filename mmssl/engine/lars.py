"""Layer-wise adaptive rate scaling, in the two forms the recipes need."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..registry import OPTIMIZERS


class _Adaptive(Optimizer):
    """Momentum SGD on gradients that a subclass rescales; the rate stays outside the buffer."""

    def rescale(self, grads: list[Tensor], params: list[Tensor], group: dict) -> list[Tensor]:
        """Return the directions d of one group."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update: buffer = momentum * buffer + d; p -= lr * buffer."""
        result = closure() if closure else None
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            if not params:
                continue
            directions = self.rescale([p.grad for p in params], params, group)
            buffers = []
            for p in params:
                state = self.state[p]
                if 'momentum_buffer' not in state:
                    state['momentum_buffer'] = torch.zeros_like(p)
                buffers.append(state['momentum_buffer'])
            torch._foreach_mul_(buffers, group['momentum'])
            torch._foreach_add_(buffers, directions)
            torch._foreach_add_(params, buffers, alpha=-group['lr'])
        return result


def _ratios(params: list[Tensor], norms: list[Tensor], trust: float) -> list[Tensor]:
    """Trust ratio per tensor, 1 where either norm is zero."""
    weights = torch._foreach_norm(params)
    return [
        torch.where((w > 0) & (n > 0), trust * w / n, torch.ones_like(w))
        for w, n in zip(weights, norms, strict=True)
    ]


@OPTIMIZERS.register_module()
class LARS(_Adaptive):
    """LARS as MoCo v3 uses it (``moco/optimizer.py``; EsViT's has the same steps).

    d = g + decay * p, times trust * ||p|| / ||d||, where the norm is taken after the decay was
    added and 1 replaces the ratio when a norm is zero. Groups with ``adapt=False`` (1-D tensors
    in the recipes, with ``decay_mult=0``) skip the ratio.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(
            params,
            dict(lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust, adapt=True),
        )

    def rescale(self, grads: list[Tensor], params: list[Tensor], group: dict) -> list[Tensor]:
        """Return decayed gradients times their trust ratio."""
        d = list(torch._foreach_add(grads, params, alpha=group['weight_decay']))
        if group['adapt']:
            ratios = _ratios(params, list(torch._foreach_norm(d)), group['trust'])
            torch._foreach_mul_(d, ratios)
        return d


@OPTIMIZERS.register_module()
class LARC(_Adaptive):
    """LARC of apex around SGD, as SwAV uses it.

    d = (g + decay * p) * trust * ||p|| / (||g|| + decay * ||p|| + eps). Where either norm is
    zero the gradient stays as it is, without decay: a full-rate step for zero-initialised
    biases, upstream's behaviour. ``clip`` bounds the ratio at the learning rate (apex's option;
    SwAV leaves it off).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
        clip: bool = False,
    ) -> None:
        defaults = dict(lr=lr, momentum=momentum, weight_decay=weight_decay)
        super().__init__(params, dict(defaults, trust=trust, eps=eps, clip=clip))

    def rescale(self, grads: list[Tensor], params: list[Tensor], group: dict) -> list[Tensor]:
        """Return adapted gradients, untouched ones where a norm is zero."""
        decay, out = group['weight_decay'], []
        weights, norms = torch._foreach_norm(params), torch._foreach_norm(grads)
        for g, p, w, n in zip(grads, params, weights, norms, strict=True):
            ratio = group['trust'] * w / (n + decay * w + group['eps'])
            if group['clip']:
                ratio = (ratio / group['lr']).clamp(max=1)
            out.append(torch.where((w > 0) & (n > 0), (g + decay * p) * ratio, g))
        return out
