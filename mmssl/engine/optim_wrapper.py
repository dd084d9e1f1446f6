"""Backward, clip, freeze, step; with or without mixed precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper as Base
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ..core import Clock, UserError, dist
from ..core.watch import meeting
from ..registry import OPTIM_WRAPPERS
from .shard import local, spread, whole

TYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}


def read_amp(amp: str | None) -> torch.dtype | None:
    """Return the type that ``optim_wrapper.amp`` names. Raises UserError for another name."""
    if amp is not None and amp not in TYPES:
        raise UserError(f"optim_wrapper.amp='{amp}' is unknown; use {' or '.join(TYPES)}")
    return TYPES[amp] if amp else None


@torch.no_grad()
def clip_each(params: list[nn.Parameter], max_norm: float) -> None:
    """Bound the norm of every tensor's gradient on its own (DINO's ``clip_gradients``)."""
    grads = [p.grad for p in params if p.grad is not None]
    if grads:
        norms = torch.stack([whole(norm) for norm in torch._foreach_norm(grads)])
        shares = (max_norm / (norms + 1e-6)).tolist()
        long = [(local(g), share) for g, share in zip(grads, shares, strict=True) if share < 1]
        if long:
            torch._foreach_mul_([g for g, _ in long], [share for _, share in long])


def _like(value: Any, parameter: nn.Parameter) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(Base):
    """mmengine's wrapper with clipping per tensor, frozen groups and one AMP switch.

    ``amp``: 'float16' (with a loss scaler) or 'bfloat16' on a GPU; on a CPU it turns itself off
    in one line, or raises UserError when ``amp_required`` (``--amp``). ``clip_grad``:
    dict(max_norm=...), with ``each=True`` per tensor. Gradients of groups whose
    ``frozen_epochs`` or ``frozen_iters`` are not over are dropped after clipping, so the
    optimizer does not touch those tensors, their decay or their state.

    Before every update the ranks agree, in one exchange of two numbers: a loss or gradient that
    is not finite on any of them keeps all from updating (`faulty` on all, `faults` has this
    rank's part, FaultHook decides), and a signal that reached one (`asked`) ends all (`ending`).
    """

    clock: Clock | None = None
    asked = 0  # number of a signal this process received
    ending = 0  # number of the signal that all ranks have agreed to follow
    faulty = False

    def __init__(
        self,
        optimizer: Any,
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
        amp: str | None = None,
        amp_required: bool = False,
    ) -> None:
        clip = dict(clip_grad) if clip_grad else None
        self.each = bool(clip and clip.pop('each', False))
        super().__init__(optimizer, accumulative_counts, clip)
        self.updated = False
        self.losses: list[Tensor] = []  # of this update's micro-batches
        self.faults: list[nn.Parameter] = []
        self.amp = self._amp_type(amp, amp_required)
        self.scaler = GradScaler('cuda', enabled=self.amp is torch.float16)

    @staticmethod
    def _amp_type(amp: str | None, required: bool) -> torch.dtype | None:
        kind = read_amp(amp)
        if kind is None or torch.cuda.is_available():
            return kind
        if required:
            raise UserError('--amp needs a GPU and none is visible; leave it out to train in fp32')
        from mmengine.logging import print_log

        print_log(f'no GPU: mixed precision ({amp}) is off, training in fp32', logger='current')
        return None

    @property
    def first(self) -> bool:
        """Whether the coming forward is the first of an optimizer step."""
        return self._inner_count % self._accumulative_counts == 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast, and hold back gradient exchange while accumulating."""
        with (
            super().optim_context(model),
            torch.autocast('cuda', dtype=self.amp or torch.float16, enabled=self.amp is not None),
        ):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate the (scaled) loss."""
        self.updated = False
        self.losses.append(loss.detach())
        with meeting('gradients'):
            super().backward(self.scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip, drop frozen gradients, update; or leave all untouched when faulty."""
        self.scaler.unscale_(self.optimizer)
        self._agree()
        if self.faulty:
            self.scaler.update()
            return
        self._clip()
        self._drop_frozen()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()
        self.updated = True

    def _agree(self) -> None:
        params = [p for g in self.optimizer.param_groups for p in g['params'] if p.grad is not None]
        norms = list(torch._foreach_norm([local(p.grad) for p in params]) if params else [])
        finite = torch.stack([*self.losses, *norms]).isfinite()
        if self.scaler.is_enabled() and self.scaler.get_scale() >= 1:
            finite = finite[: len(self.losses)]  # the scaler passes over such gradients itself
        mine = torch.stack([~finite.all(), finite.new_tensor(False)]).to(torch.int32)
        mine[1] = self.asked
        faulty, self.ending = dist.largest_over_ranks(mine).tolist()
        self.faulty = bool(faulty)
        if self.faulty:
            bad = [not bool(torch.isfinite(norm)) for norm in norms]
            self.faults = [p for p, wrong in zip(params, bad, strict=True) if wrong]
        self.losses = []

    def _clip(self) -> None:
        if not self.clip_grad_kwargs:
            return
        if self.each:
            for group in self.optimizer.param_groups:
                clip_each(group['params'], **self.clip_grad_kwargs)
        else:
            self._clip_grad()

    def _drop_frozen(self) -> None:
        for group in self.optimizer.param_groups:
            epochs, iters = group.get('frozen_epochs', 0), group.get('frozen_iters', 0)
            if not (epochs or iters):
                continue
            if self.clock is None:
                raise RuntimeError('frozen parameter groups need the clock (ClockHook)')
            if self.clock.step < max(iters, epochs * self.clock.per_epoch):
                for parameter in group['params']:
                    parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Optimizer state by position, names of the parameters, and the scaler's."""
        return dict(optimizer=self.optimizer.state_dict(), scaler=self.scaler.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore optimizer and scaler; whole tensors of the file become shares where needed."""
        stored = state_dict['optimizer']
        params = [p for g in self.optimizer.param_groups for p in g['params']]
        state = {
            i: {k: spread(v, params[i]) if _like(v, params[i]) else v for k, v in entry.items()}
            for i, entry in stored['state'].items()
        }
        self.optimizer.load_state_dict({**stored, 'state': state})
        if state_dict.get('scaler') and self.scaler.is_enabled():
            self.scaler.load_state_dict(state_dict['scaler'])
