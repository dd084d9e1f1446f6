"""Trace of a run, step by step: losses, schedules, gradients and weights."""

import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from ..core import dist
from ..core.host_values import as_number
from ..core.io import unwrap_model
from ..core.protocols import Method
from ..engine.fsdp import full_tensor

if TYPE_CHECKING:
    from ..engine import Runner

ELEMENTS = 64  # that are kept of each tensor
Numbers = dict[str, Tensor]  # name of a tensor -> a few numbers that stand for it


def _draw(name: str) -> torch.Generator:
    """Return a generator that belongs to a name, alike on every machine."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


@lru_cache(maxsize=4096)
def _signs(name: str, count: int) -> Tensor:
    """Return (count,) of -1 and 1."""
    return torch.randint(0, 2, (count,), generator=_draw(name), dtype=torch.int8) * 2 - 1


@lru_cache(maxsize=4096)
def _places(name: str, count: int) -> Tensor:
    """Return up to `ELEMENTS` different places below ``count``, ascending."""
    if count <= ELEMENTS:
        return torch.arange(count)
    places = torch.randint(0, count, (2 * ELEMENTS,), generator=_draw(name)).unique()
    found: Tensor = (
        places[torch.randperm(len(places), generator=_draw(name))[:ELEMENTS]].sort().values
    )
    return found


def flattened(value: Tensor) -> Tensor:
    """Return a whole tensor (*), of which this process may have a share, as (N,) float64."""
    return full_tensor(value).detach().to('cpu', torch.float64).flatten()


def fingerprint(name: str, flat: Tensor) -> Tensor:
    """Return (2,) of a `flattened` tensor (N,): its norm, its product with signs drawn by name."""
    return torch.stack([flat.norm(), flat @ _signs(name, len(flat)).double()])


def elements(name: str, flat: Tensor) -> Tensor:
    """Return up to `ELEMENTS` elements of a `flattened` tensor (N,), at places drawn by name.

    The teacher's are at the places of the student's.
    """
    return flat[_places(students_name(name), len(flat))]


def students_name(name: str) -> str:
    """Return the name of the student's tensor for a name of the teacher's, others unchanged."""
    return name.replace('teacher.', 'student.', 1) if name.startswith('teacher.') else name


def averaged(losses: dict[str, float]) -> dict[str, float]:
    """Return the means of losses over all processes."""
    total = dist.sum_over_ranks(torch.tensor(list(losses.values()), dtype=torch.float64))
    return dict(zip(losses, (total / dist.world_size()).tolist(), strict=True))


@dataclass
class Step:
    """One step of a run.

    ``values`` are losses, rate and weight decay (largest and smallest of all groups), momentum
    and temperatures, and ``grad_norm``, the L2 norm of all gradients before clipping.
    ``gradients`` has the `fingerprint` of each gradient before clipping, ``slopes`` its `elements`
    with the largest one in front; ``state`` the `elements` of weights and buffers after the step.
    The last three are empty where they were not asked for.
    """

    values: dict[str, float]
    gradients: Numbers = field(default_factory=dict)
    slopes: Numbers = field(default_factory=dict)
    state: Numbers = field(default_factory=dict)


Trace = list[Step]


class TraceHook(Hook):
    """Collect a `Step` of each iteration in ``trace``, of the first ``steps`` (None: of all).

    With ``joined`` losses are means over all processes, else this one's. ``tensors`` says whether
    a step has numbers for gradients and weights.
    """

    priority = 'LOWEST'

    def __init__(self, steps: int | None = None, tensors: bool = True, joined: bool = True) -> None:
        self.tensors = tensors
        self.joined = joined
        self.steps = steps
        self.trace: Trace = []

    @property
    def full(self) -> bool:
        """Whether all steps that were asked for are there."""
        return self.steps is not None and len(self.trace) >= self.steps

    def before_train(self, runner: 'Runner') -> None:
        """Look at gradients as soon as they are there: clipping comes next."""
        runner.optim_wrapper.gradient_watchers.append(lambda: self._watch(runner))

    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Any = None) -> None:
        """Note what the schedules say of this step."""
        groups = runner.optim_wrapper.held
        self.values = {'lr': max(group['lr'] for group in groups)}
        for name, choose in (('weight_decay', max), ('smallest_weight_decay', min)):
            self.values[name] = choose(group['weight_decay'] for group in groups)
        model = unwrap_model(runner.model)
        if isinstance(model, Method):
            for name, schedule in model.schedules().items():
                self.values[name] = schedule.value_at(*runner.optim_wrapper.progress)

    def _watch(self, runner: 'Runner') -> None:
        if self.full:
            return
        scale = runner.optim_wrapper.scaler.get_scale()  # 1 without mixed precision
        self.gradients = {}
        self.slopes = {}
        norms = []
        for name, p in unwrap_model(runner.model).named_parameters():
            if p.grad is None:
                continue
            flat = flattened(p.grad) / scale
            norms.append(flat.norm())
            if self.tensors and len(flat):
                self.gradients[name] = fingerprint(name, flat)
                self.slopes[name] = torch.cat([flat.abs().max()[None], elements(name, flat)])
        self.values['grad_norm'] = float(torch.stack(norms).norm())

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add the step."""
        losses = {name: as_number(x) for name, x in (outputs or {}).items()}
        if self.joined:
            losses = averaged(losses)
        state = unwrap_model(runner.model).state_dict() if self.tensors else {}
        found = {
            name: elements(name, flattened(x))
            for name, x in state.items()
            if x.is_floating_point() and x.numel()
        }
        self.trace.append(Step(losses | self.values, self.gradients, self.slopes, found))
