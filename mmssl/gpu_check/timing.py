"""Time training steps on a device."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch.utils._pytree import tree_map


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was asked for."""
    if device == 'cuda':
        torch.cuda.synchronize()


def seconds_each(call: Callable[[], Any], device: str, warm: int = 3, count: int = 5) -> float:
    """Return the median seconds of a call, after some that are not timed."""
    times = []
    for _ in range(warm + count):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - began)
    return median(times[warm:])


def on_device(batch: Any, device: str) -> Any:
    """Return a nested batch with its tensors on the device."""
    return tree_map(lambda x: x.to(device), batch)


def union(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the length of what intervals (begin, end) cover together."""
    total, reached = 0.0, float('-inf')
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
