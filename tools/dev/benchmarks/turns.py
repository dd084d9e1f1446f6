"""Time things in turns, on the device there is: what slows the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmssl.planning.memory import Memory

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def make_on_device() -> None:
    """Let new tensors lie on the device."""
    if DEVICE != 'cpu':
        torch.set_default_device(DEVICE)


def in_turns(forms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round of each form; a first call of each is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            if DEVICE == 'cuda':
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in taken.items()}


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Median and range of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})'


def peak(form: Callable[[], Any]) -> float:
    """MB above what is there before a call, torch's alone."""
    if DEVICE == 'cpu':
        with Memory() as memory:
            form()
        return memory.peak / 1e6
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    form()
    return (torch.cuda.max_memory_allocated() - before) / 1e6
