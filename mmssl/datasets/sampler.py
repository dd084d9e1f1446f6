"""The order in which samples are read."""

import math
from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler

from ..core import UserError, dist
from ..registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """Yield (epoch, index) for this rank.

    Rank r of W takes every W-th of one order shared by all ranks, so a global batch holds the
    same images for any W with the same global batch size. ``shuffle`` draws the order from
    (seed, epoch). ``even`` drops the tail that would give ranks unequal counts (training);
    otherwise every image is read exactly once (evaluation). `skip` leaves out what an
    interrupted epoch has already read, without reading it.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = 0, even: bool | None = None
    ) -> None:
        self.dataset, self.shuffle, self.seed = dataset, shuffle, seed or 0
        self.even = shuffle if even is None else even
        self.rank, self.world_size = dist.rank(), dist.world_size()
        self.epoch, self.skip = 0, 0
        if self.even and len(dataset) < self.world_size:
            raise UserError(f'{len(dataset)} images cannot feed {self.world_size} processes')

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order and randomness."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        count = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(count, generator=generator).tolist()
        else:
            order = list(range(count))
        if self.even:
            order = order[: count - count % self.world_size]
        mine = order[self.rank :: self.world_size]
        return ((self.epoch, index) for index in mine[self.skip :])

    def __len__(self) -> int:
        if self.even:
            return len(self.dataset) // self.world_size
        return math.ceil((len(self.dataset) - self.rank) / self.world_size)
