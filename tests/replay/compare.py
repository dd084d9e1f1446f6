"""Compare tensors as the recorded cases ask."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

NOISE = 1e-12  # gradients this small are rounding in float64


def relative(ours: Tensor, expected: Tensor) -> float:
    """max|ours - expected| / max(max|expected|, 1e-12), infinite for another shape or a NaN."""
    if ours.shape != expected.shape:
        return float('inf')
    if expected.numel() == 0:
        return 0.0
    ours, expected = (x.to('cpu', torch.float64) for x in (ours, expected))
    error = (ours - expected).abs().max() / expected.abs().max().clamp_min(NOISE)
    return float(error) if torch.isfinite(error) else float('inf')


def gradient_error(ours: Tensor, expected: Tensor, tol: float, noise: float = NOISE) -> float:
    """Relative error; a gradient (or state) that is all rounding is compared absolutely."""
    if ours.shape == expected.shape and expected.numel() and expected.abs().max() < noise:
        # the absolute limit ``noise`` stands for the relative limit
        return float((ours.cpu() - expected).abs().max()) / noise * tol
    return relative(ours, expected)


@dataclass
class Group:
    """One line of the result."""

    name: str
    worst: float = 0.0
    worst_name: str = ''
    count: int = 0
    failures: list[str] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, error: float, tol: float) -> None:
        """Count one tensor."""
        self.count += 1
        self.errors[name] = error
        if error > self.worst or not self.worst_name:
            self.worst, self.worst_name = max(error, self.worst), name
        if not error <= tol:
            self.failures.append(f'{name}: {error:.3g}')
