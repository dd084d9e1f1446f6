"""Time and peak memory of real training steps on this machine."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmengine.registry import DefaultScope

from ..registry import MODELS
from .memory import Memory
from .standalone_step import Batch, StandaloneTraining, noise_batch

MakeBatch = Callable[[Any, int], Batch]
MIN_BATCH = 2  # for batch norm
MAX_SECONDS = 3.0  # seconds of a step after which no larger one is tried


class Probe(NamedTuple):
    """Images and seconds of real forward and backward passes; bytes of the last batch's peak.

    ``update`` is the time of what comes once however many batches an update gathers; without
    gathering it is part of ``times``.
    """

    times: list[tuple[int, float]]
    peak: int
    update: float = 0.0

    def seconds(self, batch: int) -> float:
        """Return the time for ``batch`` images, on the line through the two largest probes."""
        (a, first), (b, last) = ([(0, 0.0), *self.times])[-2:]
        slope = max((last - first) / (b - a), 0.0)
        return last + slope * (batch - b)


def probe(cfg: Any, device: str, target: int, batch_of: MakeBatch = noise_batch) -> Probe:
    """Take real steps on this machine, each of twice the images, until they are long enough.

    The peak, in bytes, is that of the GPU's allocator in the last step; on a CPU that of the
    tensors of the first. ``batch_of`` makes a batch of so many images, by default of noise.
    """
    times: list[tuple[int, float]] = []
    batch, cuda = MIN_BATCH, device == 'cuda'
    with DefaultScope.overwrite_default_scope('mmssl'), Memory() as memory:
        training = StandaloneTraining(cfg, MODELS.build(cfg.model).to(device))
        memory.peak = memory.now
        training.step(batch_of(cfg, MIN_BATCH))  # cold and logged_embeddings: not timed
    peak = memory.peak
    while True:
        try:
            once, update = _timed(training, batch_of(cfg, batch), cuda)
        except torch.OutOfMemoryError:
            break
        times.append((batch, once))
        peak = torch.cuda.max_memory_allocated() if cuda else peak
        if once >= MAX_SECONDS or batch >= target:
            break
        batch = min(2 * batch, target)
    return Probe(times, peak, update)


def _timed(training: StandaloneTraining, batch: Any, cuda: bool) -> tuple[float, float]:
    """Return the seconds of one forward and backward, and of the rest of an update of two.

    Where nothing is gathered, the first is all of it.
    """
    marks: list[float] = []

    def mark() -> None:
        if cuda:
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    mark()
    training.step(batch, mark)
    mark()
    if len(marks) == 3:
        return marks[2] - marks[0], 0.0
    once = marks[2] - marks[1]  # from the first forward to the second
    return once, max(marks[3] - marks[0] - 2 * once, 0.0)
