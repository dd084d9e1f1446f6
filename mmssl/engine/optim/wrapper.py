"""Optimizer wrapper: backward, clipping, frozen groups and update, with or without AMP."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from mmengine.optim import OptimWrapper as Base
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from ...core import Progress, UserError, dist
from ...core.host_values import read_together
from ...core.watchdog import collective
from ...optim.gradients import clip, drop_frozen, gradients, read_clip
from ...optim.shards import tensor_norms
from ...registry import OPTIM_WRAPPERS
from ..fsdp import scatter_state
from ..step_status import StepStatus
from .half_weights import HalfWeights

RATES = ('lr', 'initial_lr')  # of a group, where schedulers leave them
AMP_DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16}


def read_amp(amp: str | None) -> torch.dtype | None:
    """Return the type that ``optim_wrapper.amp`` names. Raises UserError for another name."""
    if amp is not None and amp not in AMP_DTYPES:
        raise UserError(
            f"optim_wrapper.amp='{amp}' is unknown; use {' or '.join(AMP_DTYPES)}",
            key='optim_wrapper.amp',
            value=amp,
        )
    return AMP_DTYPES[amp] if amp else None


def active_amp(amp: str | None) -> torch.dtype | None:
    """Return the type of `read_amp` where a GPU is there to compute in it, else None."""
    kind = read_amp(amp)
    return kind if torch.cuda.is_available() else None


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != 'params'}


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

    ``accumulative_counts`` micro-batches make an update. An update begins with an epoch at the
    latest: what the end of an epoch leaves of one is dropped, as in SERE's code. Its rates, decay
    and other settings are those of its first micro-batch (`hold_settings`).

    Before every update the ranks agree, in one exchange of three numbers: a loss or gradient that
    is not finite on any of them keeps all from updating, and a signal that reached one ends all.
    Then the host reads, once for an update, what it needs of the device: what was agreed on, the
    norms of all gradients, and what ``readings`` name (losses, health). The results stand in
    ``status``, the runner's `StepStatus`.
    """

    progress: Progress | None = None
    amp_device = 'cuda'  # plans emulate one on the CPU

    def __init__(
        self,
        optimizer: Any,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
        amp: str | None = None,
        amp_required: bool = False,
    ) -> None:
        bound, self.per_tensor = read_clip(clip_grad)
        super().__init__(optimizer, accumulative_counts, bound)
        self.status = StepStatus()  # the runner puts its own here
        self.losses: list[Tensor] = []  # of this update's micro-batches
        # what else the host is to read: tensors () by name, asked for after each backward
        self.readings: dict[str, Callable[[], dict[str, Tensor]]] = {}
        self.to_read: list[dict[str, dict[str, Tensor]]] = []  # of this update's micro-batches
        self.held: list[dict[str, Any]] = []  # settings of each group at this update's start
        self.gradient_watchers: list[Callable[[], None]] = []  # called after each backward
        self.amp = self._amp_type(amp, amp_required)
        self.half_weights: HalfWeights | None = None
        self.scaler = GradScaler('cuda', enabled=self.amp is torch.float16)

    @staticmethod
    def _amp_type(amp: str | None, required: bool) -> torch.dtype | None:
        kind = active_amp(amp)
        if kind is torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UserError(
                f'optim_wrapper.amp=bfloat16: {torch.cuda.get_device_name()} computes none; use '
                '--cfg-options optim_wrapper.amp=float16',
                key='optim_wrapper.amp',
                value='bfloat16',
            )
        if amp is None or kind is not None:
            return kind
        if required:
            raise UserError(
                '--amp needs a GPU and none is visible; leave it out to train in fp32', key='--amp'
            )
        from mmengine.logging import print_log

        print_log(f'no GPU: mixed precision ({amp}) is off, training in fp32', logger='current')
        return None

    @property
    def starts_update(self) -> bool:
        """Whether the coming forward is the first of an optimizer step."""
        found: bool = self._inner_count % self._accumulative_counts == 0
        return found

    def initialize_count_status(self, *_: Any) -> None:
        """Begin an update: a run begins with one, also in the middle of an epoch."""
        self._inner_count = 0

    def hold_settings(self) -> None:
        """Keep each group's settings as they are before the first micro-batch of an update."""
        self.held = [_settings(group) for group in self.optimizer.param_groups]

    def get_lr(self) -> dict[str, list[float]]:
        """Return the rate of every group that this update takes."""
        rates: dict[str, list[float]] = super().get_lr()
        if self.held and not self.starts_update:
            rates['lr'] = [settings['lr'] for settings in self.held]
        return rates

    def drop_incomplete(self) -> bool:
        """Drop the gradients of an update whose micro-batches are not complete; was there one?"""
        if self.starts_update:
            return False
        self._inner_count = 0
        self.losses = []
        self.to_read = []
        self.zero_grad()
        return True

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast, and hold back gradient exchange while accumulating."""
        with super().optim_context(model):
            if self.amp is None:
                yield
                return
            if self.half_weights is None:
                self.half_weights = HalfWeights(model)
            with (
                torch.autocast(self.amp_device, dtype=self.amp),
                self.half_weights.cast(self.amp),
            ):
                yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate the (scaled) loss."""
        self.status.updated = self.status.non_finite = False
        self.status.values_read = []
        self.losses.append(loss.detach())
        self.to_read.append({name: read() for name, read in self.readings.items()})
        with collective('gradients'):
            super().backward(self.scaler.scale(loss), **kwargs)
        for watcher in self.gradient_watchers:
            watcher()

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip, drop frozen gradients, update.

        Where a loss or gradient is not finite on any rank, nothing is updated.
        """
        self.scaler.unscale_(self.optimizer)
        params = [p for g in self.optimizer.param_groups for p in g['params'] if p.grad is not None]
        norms, overflow = self._agree(params)
        if self.status.non_finite:
            self.scaler.update()
            return
        if not overflow:  # else the scale falls: the scaler would find out by reading again
            self._clip(params, norms)
            self._drop_frozen()
            with self._settings_of_start():
                self.optimizer.step(**kwargs)
        self.scaler.update()
        self.status.updated = True

    @contextmanager
    def _settings_of_start(self) -> Iterator[None]:
        """Put the held settings into the groups; schedulers go on from those of now."""
        groups = self.optimizer.param_groups
        now = [_settings(group) for group in groups]
        for group, settings in zip(groups, self.held or now, strict=True):
            group.update(settings)
        yield
        for group, settings in zip(groups, now, strict=True):
            group.update(settings)

    def _agree(self, params: list[nn.Parameter]) -> tuple[list[float], bool]:
        """Agree over ranks whether this update counts and whether a signal ends the run.

        Return the norm of each gradient, and whether a loss scale that can still fall has made
        some of them overflow. It is the one time that the host waits for the device in an update.
        """
        grads = gradients(params)
        losses = torch.stack(self.losses) if self.losses else grads[0].new_zeros(0)
        norms = tensor_norms(grads) if grads else losses.new_zeros(0)
        wrong = torch.stack([~losses.isfinite().all(), ~norms.isfinite().all()])
        mine = nn.functional.pad(wrong.to(torch.int32), (0, 1), value=self.status.signal_received)
        agreed = dist.largest_over_ranks(mine)  # (3,): wrong losses, wrong gradients, signal
        scale = self.scaler.scale(norms.new_ones(1))
        values = [x for part in self.to_read for group in part.values() for x in group.values()]
        flags, (factor,), lengths, *numbers = read_together(agreed, scale, norms, *values)
        wrong_loss, wrong_gradient, self.status.signal_agreed = map(int, flags)
        overflow = bool(wrong_gradient) and self.scaler.is_enabled() and factor >= 1
        self.status.non_finite = bool(wrong_loss) or (bool(wrong_gradient) and not overflow)
        self.status.non_finite_parameters = [
            p for p, length in zip(params, lengths, strict=True) if not math.isfinite(length)
        ]
        number = chain.from_iterable(numbers)
        self.status.values_read = [
            {name: {key: next(number) for key in group} for name, group in part.items()}
            for part in self.to_read
        ]
        self.losses = []
        self.to_read = []
        return lengths, overflow

    def _clip(self, params: list[nn.Parameter], norms: list[float]) -> None:
        """Clip gradients of known ``norms``."""
        if not self.clip_grad_kwargs or not params:
            return
        norm = clip(params, norms, each=self.per_tensor, **self.clip_grad_kwargs)
        if norm is not None:
            self.message_hub.update_scalar('train/grad_norm', norm)

    def _drop_frozen(self) -> None:
        groups = self.optimizer.param_groups
        if any(g.get('frozen_epochs', 0) or g.get('frozen_iters', 0) for g in groups):
            if self.progress is None:
                raise RuntimeError('frozen parameter groups need the progress (MethodHook)')
            drop_frozen(groups, self.progress)

    def state_dict(self) -> dict[str, Any]:
        """Optimizer state by position, names of the parameters, and the scaler's."""
        return dict(optimizer=self.optimizer.state_dict(), scaler=self.scaler.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore optimizer and scaler; full tensors of the file become shards where needed.

        Of the groups' settings the rates alone are the file's. Nothing is checked here
        (`state.training_fit`).
        """
        stored = state_dict['optimizer']
        params = [p for g in self.optimizer.param_groups for p in g['params']]
        state = {
            i: {
                k: scatter_state(v, params[i]) if _like(v, params[i]) else v
                for k, v in entry.items()
            }
            for i, entry in stored['state'].items()
        }
        groups = []
        for own, group in zip(self.optimizer.param_groups, stored['param_groups'], strict=True):
            rates = {key: group[key] for key in RATES if key in group}
            groups.append({**_settings(own), **rates, 'params': group['params']})
        self.optimizer.load_state_dict(dict(state=state, param_groups=groups))
        if state_dict.get('scaler') and self.scaler.is_enabled():
            self.scaler.load_state_dict(state_dict['scaler'])
