"""Compare a replayed trace with the recorded one, step by step."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .trace import Step, Trace, students_name

# by type of number: the relative error that rounding explains
LIMITS = {'float64': 1e-9, 'float32': 1e-3, 'float16': 5e-2, 'bfloat16': 5e-2}
# ... below which share of the largest gradient of the network that of a tensor is rounding
TENSOR_NOISE = {'float64': 1e-8, 'float32': 1e-4, 'float16': 1e-2, 'bfloat16': 1e-2}
# ... and of the tensor that of an element, which Adam divides by its own size
ELEMENT_NOISE = {'float64': 1e-4, 'float32': 0.05, 'float16': 0.2, 'bfloat16': 0.2}
KINDS = ('value', 'gradient', 'state')
# moves with the bias before it, whose gradient is rounding
UNSTEADY = 'running_mean'


@dataclass
class Difference:
    """How far one value, gradient or tensor of the state is from the recorded one."""

    step: int
    kind: str
    name: str
    recorded: float
    replayed: float
    error: float  # relative to the recorded size

    def __str__(self) -> str:
        return (
            f'step {self.step}, {self.kind} {self.name}: {self.replayed:.8g}, recorded '
            f'{self.recorded:.8g}, relative difference {self.error:.1e}'
        )


@dataclass
class Comparison:
    """Outcome of a replay.

    ``largest`` has the largest difference of each of `KINDS` in every step, ``departure`` those
    of the first step with any above ``limit``, and is empty when there is none.
    """

    largest: list[dict[str, Difference]]
    departure: list[Difference]
    limit: float


def compare(recorded: Trace, replayed: Trace, dtype: str, limit: float | None = None) -> Comparison:
    """Compare as many steps as were replayed, by the limit of ``dtype`` or another one.

    Gradients are compared by fingerprints, weights by elements. Where a gradient is nothing but
    rounding (biases before batch norms, of keys in attention), Adam makes whole steps of it: such
    gradients, and elements that have ever had one, are left out.
    """
    limit = LIMITS[dtype] if limit is None else limit
    rows = []
    steady: dict[str, Tensor] = {}
    for number, (theirs, ours) in enumerate(zip(recorded, replayed, strict=False), 1):
        rows.append(compare_step(theirs, ours, number, dtype, steady))
    departure: list[Difference] = []
    for row in rows:
        departure = [found for found in row.values() if not found.error <= limit]
        if departure:
            break
    return Comparison(rows, departure, limit)


def compare_step(
    recorded: Step, replayed: Step, number: int, dtype: str, steady: dict[str, Tensor]
) -> dict[str, Difference]:
    """Return the largest difference of each of `KINDS` that the recorded step has.

    ``steady`` says which kept elements (k,) of a weight have had gradients above rounding in all
    steps before, and is brought up to this one.
    """
    largest = max((float(x[0]) for x in recorded.slopes.values()), default=0.0)
    gradients = {}
    for name, slope in recorded.slopes.items():
        moved = slope[1:].abs() > ELEMENT_NOISE[dtype] * slope[0]
        if slope[0] <= TENSOR_NOISE[dtype] * largest:
            moved = torch.zeros_like(moved)
        else:
            gradients[name] = recorded.gradients[name]
        steady[name] = steady.get(name, moved) & moved
    state = {name: _steady(name, x, steady) for name, x in recorded.state.items()}
    found = {}
    rows: list[tuple[str, Any, Any]] = [
        ('value', recorded.values, replayed.values),
        ('gradient', gradients, replayed.gradients),
        ('state', state, {n: _steady(n, x, steady) for n, x in replayed.state.items()}),
    ]
    for kind, theirs, ours in rows:
        differences = [
            Difference(number, kind, name, *_difference(value, ours.get(name), kind))
            for name, value in theirs.items()
            if kind != 'state' or (len(value) and not name.endswith(UNSTEADY))
        ]
        if differences:
            found[kind] = max(differences, key=lambda difference: difference.error)
    return found


def _steady(name: str, values: Tensor, steady: dict[str, Tensor]) -> Tensor:
    """Return the elements (n,) of a weight, or of the teacher's copy of it, that are steady."""
    mask = steady.get(students_name(name))
    return values if mask is None or len(mask) != len(values) else values[mask]


def _difference(recorded: Any, replayed: Any, kind: str) -> tuple[float, float, float]:
    """Return (recorded, replayed, relative error) of numbers (n,) where they differ most.

    Relative to the largest element, or, of a gradient's fingerprint, to its norm.
    """
    theirs = torch.as_tensor(recorded, dtype=torch.float64).flatten()
    if replayed is None or torch.as_tensor(replayed).numel() != theirs.numel():
        return float(theirs[0]), float('nan'), float('inf')
    ours = torch.as_tensor(replayed, dtype=torch.float64).flatten()
    distance = (ours - theirs).abs()
    size = theirs[0] if kind == 'gradient' else theirs.abs().max()
    error = float(distance.max() / size.clamp_min(1e-12))
    at = int(distance.argmax())
    return float(theirs[at]), float(ours[at]), error if error == error else float('inf')
