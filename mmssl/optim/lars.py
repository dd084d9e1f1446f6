"""LARS and LARC: layer-wise adaptive rate scaling."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..registry import OPTIMIZERS
from .shards import local_part, tensor_norms


class _Adaptive(Optimizer):
    """Momentum SGD on gradients that a subclass rescales; the rate stays outside the buffer."""

    def rescale(
        self, grads: list[Tensor], params: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Return the directions d (any shapes) of one group."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update: buffer = momentum * buffer + d; p -= lr * buffer."""
        result = closure() if closure else None
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            # a CPU finds one tensor in its cache; a GPU wants all in few launches
            together = [params] if params and params[0].is_cuda else [[p] for p in params]
            for part in together:
                self._move(part, group)
        return result

    def _move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        directions = self.rescale([p.grad for p in params], params, group)  # type: ignore[misc]
        buffers = []
        for p in params:
            state = self.state[p]
            if 'momentum_buffer' not in state:
                state['momentum_buffer'] = torch.zeros_like(p)
            buffers.append(state['momentum_buffer'])
        torch._foreach_mul_(buffers, group['momentum'])
        torch._foreach_add_(buffers, directions)
        torch._foreach_add_(params, buffers, alpha=-group['lr'])


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

    def rescale(
        self, grads: list[Tensor], params: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Return decayed gradients (any shapes) times their trust ratio."""
        d = list(torch._foreach_add(grads, params, alpha=group['weight_decay']))
        if group['adapt']:
            weights, norms = tensor_norms(params), tensor_norms(d)
            ratios = torch.where((weights > 0) & (norms > 0), group['trust'] * weights / norms, 1.0)
            torch._foreach_mul_([local_part(x) for x in d], list(ratios.unbind()))
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

    def rescale(
        self, grads: list[Tensor], params: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        """Return adapted gradients (any shapes), untouched ones where a norm is zero."""
        decay, weights, norms = group['weight_decay'], tensor_norms(params), tensor_norms(grads)
        ratios = group['trust'] * weights / (norms + decay * weights + group['eps'])
        if group['clip']:
            ratios = (ratios / group['lr']).clamp(max=1)
        # without gradient nothing is left of the decay; without weight there is none
        ratios = torch.where(norms > 0, torch.where(weights > 0, ratios, 1.0), 0.0)
        d = list(torch._foreach_add(grads, params, alpha=decay))
        torch._foreach_mul_([local_part(x) for x in d], list(ratios.unbind()))
        return d
