"""Time things in turns: what slows the machine slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def in_turns(forms: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round of each form; a first call of each is not counted.

    A form waits for its device, as by handing a number back.
    """
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            taken[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in taken.items()}


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Median and range of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})'
