"""How long real training steps take on this machine, and what they hold meanwhile."""

import time
from typing import Any, NamedTuple

import torch
from mmengine.registry import DefaultScope

from ..registry import MODELS
from .memory import Memory
from .rehearsal import Training, images

LEAST = 2  # batch norm knows no fewer images
LONG = 3.0  # seconds of a step after which no larger one is tried


class Probe(NamedTuple):
    """Images and seconds of real forward and backward passes; bytes of the last batch's peak."""

    times: list[tuple[int, float]]
    peak: int

    def seconds(self, batch: int) -> float:
        """Return the time for ``batch`` images, on the line through the two largest probes."""
        (a, first), (b, last) = ([(0, 0.0), *self.times])[-2:]
        slope = max((last - first) / (b - a), 0.0)
        return last + slope * (batch - b)


def probe(cfg: Any, device: str, target: int) -> Probe:
    """Take real steps on this machine, each of twice the images, until they are long enough.

    The peak is that of GPU's allocator for the last, or of tracked bytes for the first on a CPU.
    """
    times: list[tuple[int, float]] = []
    batch, cuda = LEAST, device == 'cuda'
    with DefaultScope.overwrite_default_scope('mmssl'), Memory() as memory:
        training = Training(cfg, MODELS.build(cfg.model).to(device))
        memory.peak = memory.now
        times.append((batch, _timed(training, images(cfg, batch), cuda)))
    peak = torch.cuda.max_memory_allocated() if cuda else memory.peak
    while times[-1][1] < LONG and batch < target:
        batch = min(2 * batch, target)
        try:
            times.append((batch, _timed(training, images(cfg, batch), cuda)))
        except torch.OutOfMemoryError:
            break
        peak = torch.cuda.max_memory_allocated() if cuda else peak
        if len(times) == 2:  # the first was cold, and watched
            times[0] = (LEAST, _timed(training, images(cfg, LEAST), cuda))
    return Probe(times, peak)


def _timed(training: Training, batch: Any, cuda: bool) -> float:
    """Return the seconds of one forward and backward, its share of the update included."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    training.step(batch)
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / training.wrapper._accumulative_counts
