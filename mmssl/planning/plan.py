"""Plan a pretraining: largest batch in memory, learning rate, time of an update and of all."""

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

from mmengine.registry import DefaultScope

from ..core import UserError
from ..datasets import ImageDataset
from ..registry import DATASETS
from .fake_tensor_step import FakeTensorStep
from .timing import MIN_BATCH, Probe

GIB = 2**30
RESERVE = GIB  # for CUDA's context or Python itself, and for gaps between tensors
IMAGENET = 1_281_167


class Plan(NamedTuple):
    """Batch of a GPU, learning rate, peak memory in bytes, seconds an update, hours in all."""

    batch: int
    rate: float
    peak: int
    seconds: float | None = None
    hours: float | None = None


def read_memory(text: str) -> int:
    """Return the bytes that 24G, 24GiB or 8000M mean, in powers of two.

    Raises UserError for another text.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?) ?([MGT])(?:i?B)?', text, re.IGNORECASE)
    size = float(found[1]) * 2 ** {'M': 20, 'G': 30, 'T': 40}[found[2].upper()] if found else 0
    if size <= 0:
        raise UserError(
            f'--memory {text}: write a size such as 24G or 8000M', key='--memory', value=text
        )
    return int(size)


def accumulated_batches(cfg: Any) -> int:
    """Return the number of batches whose gradients one update sums."""
    return int(cfg.optim_wrapper.get('accumulative_counts', 1))


def base_batch(cfg: Any) -> int:
    """Return the images of an update that the config's learning rate is for."""
    stated = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    return int(stated or cfg.train_dataloader.batch_size * accumulated_batches(cfg))


def devices(cfg: Any) -> int:
    """Return the number of GPUs that the config is written for."""
    found: int = max(
        base_batch(cfg) // (cfg.train_dataloader.batch_size * accumulated_batches(cfg)), 1
    )
    return found


def scaled_lr(cfg: Any, total: int) -> float:
    """Return the learning rate for ``total`` images an update, as ``--auto-scale-lr`` has it."""
    return float(cfg.optim_wrapper.optimizer.lr * total / base_batch(cfg))


def count_images(cfg: Any) -> int | None:
    """Return how many images there are to train on; ImageNet's number where it is not here."""
    dataset = cfg.train_dataloader.dataset
    try:
        with DefaultScope.overwrite_default_scope('mmssl'):
            images = DATASETS.build(dataset)
            return images.epoch_length if isinstance(images, ImageDataset) else len(images)
    except UserError:
        imagenet = re.search(r'imagenet/?$', str(dataset.get('data_root')))
        return IMAGENET if imagenet else None


def largest_batch(need: Callable[[int], float], limit: float, start: int, most: int) -> int:
    """Return the largest batch of `MIN_BATCH` to ``most`` whose ``need`` is within the limit.

    ``need`` grows with the batch. Guesses lie on the line through the last two points, and the
    answer's neighbour is always evaluated. Returns 0 where nothing fits.
    """
    low, high, points = MIN_BATCH - 1, most + 1, [(MIN_BATCH, need(MIN_BATCH))]
    if points[0][1] > limit or most < MIN_BATCH:
        return 0
    guess, low = min(max(start, MIN_BATCH + 1), most), MIN_BATCH
    while high - low > 1:
        points.append((guess, need(guess)))
        if points[-1][1] <= limit:
            low = guess
        else:
            high = guess
        (a, first), (b, last) = points[-2:]
        slope = (last - first) / (b - a) if b != a else 0.0
        guess = b + int((limit - last) // slope) if slope > 0 else 2 * low
        if len(points) > 8:  # a schedule, not a line
            guess = (low + high) // 2
        guess = min(max(guess, low + 1), high - 1)
    return low


class Planner:
    """Memory, learning rate and time of a config on ``gpus`` devices, 'cuda' or 'cpu'.

    Without ``gpus`` they are as many as the config is written for. Raises UserError for a config
    that is no pretraining.
    """

    def __init__(self, cfg: Any, gpus: int | None = None, device: str = 'cuda') -> None:
        self.cfg = cfg
        self.fake_step = FakeTensorStep(cfg, device)
        self.gpus = gpus or devices(cfg)
        self.images = count_images(cfg)
        parameters = self.fake_step.training.parameters
        # the buckets in which DistributedDataParallel exchanges gradients
        self.beside = sum(p.nbytes for p in parameters) if self.gpus > 1 else 0
        self.peaks: dict[int, int] = {}

    def peak(self, batch: int) -> int:
        """Return the bytes that a step with ``batch`` images takes on each device."""
        if batch not in self.peaks:
            self.peaks[batch] = self.fake_step.peak(batch) + self.beside
        return self.peaks[batch]

    def plan(self, batch: int, timing: Probe | None = None) -> Plan:
        """Return the plan for a batch; its times are those of the probed machine."""
        total = batch * self.gpus * accumulated_batches(self.cfg)
        seconds = hours = None
        if timing is not None:
            seconds = timing.seconds(batch) * accumulated_batches(self.cfg) + timing.update
            if self.images:
                updates = self.images * self.cfg.train_cfg.max_epochs / total
                hours = seconds * updates / 3600
        return Plan(batch, scaled_lr(self.cfg, total), self.peak(batch), seconds, hours)

    def largest(self, memory: int) -> int:
        """Return the largest batch that fits. Raises UserError when none does."""
        most = (self.images or 2**20) // self.gpus
        # a queue may hold fewer
        most = bisect_left(range(1, most + 1), True, key=self._refused)
        found = largest_batch(
            self.peak, memory - RESERVE, self.cfg.train_dataloader.batch_size, most
        )
        if not found:
            raise UserError(
                f'--memory: {MIN_BATCH} images take {self.peak(MIN_BATCH) / GIB:.2f} GiB beside '
                f'{RESERVE / GIB:g} GiB for the process, more than {memory / GIB:.2f}: '
                'no batch fits',
                key='--memory',
                value=memory,
            )
        return found

    def _refused(self, batch: int) -> bool:
        try:
            self.fake_step.training.model.check_batch(batch * self.gpus)
        except UserError:
            return True
        return False
