"""Sampler of repeated augmentation: an epoch takes several views of a third of the images."""

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import Sampler

from ..core import UserError, dist
from ..registry import DATA_SAMPLERS
from .sampler import refuse_repeat_factors, refuse_stream

ROUND = 256  # an epoch has a multiple of so many images, over all ranks


@DATA_SAMPLERS.register_module()
class RepeatAugSampler(Sampler[Any]):
    """Yield (epoch, index, repeat) for this rank: images in a row are views of one (DeiT).

    The shuffled order of (seed, epoch) has every image ``repeats`` times in a row and is dealt out
    to the ranks in turn, so that the repeats of an image fall on different ranks. An epoch ends
    after as many images as the data set has, rounded down to `ROUND`: a third of them, three times
    each. ``repeat`` tells the views of an image apart. The order is that of timm's
    `RepeatAugSampler` where the seed is 0. Hoffer et al., CVPR 2020. Raises UserError when
    ``repeats`` is below 1, and as `refuse_repeat_factors` and `refuse_stream` do.
    """

    exact = True  # a resumed run meets the same images

    def __init__(self, dataset: Sized, repeats: int = 3, seed: int | None = 0) -> None:
        refuse_repeat_factors(dataset, type(self).__name__)
        refuse_stream(dataset, type(self).__name__)
        if repeats < 1:
            raise UserError(
                f'sampler.repeats={repeats}: give at least 1', key='sampler.repeats', value=repeats
            )
        self.dataset = dataset
        self.repeats = repeats
        self.seed = seed or 0
        self.rank = dist.rank()
        self.world_size = dist.world_size()
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order and the random numbers of the items."""
        self.epoch = epoch

    def seek(self, epoch: int, images: int) -> None:
        """Leave out the first ``images`` of the coming epoch, which were read before a stop."""
        self.skip = images

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        count = len(self.dataset)
        total = count * self.repeats
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(count, generator=generator).tolist()
        for i in range(self.skip, len(self)):
            place = self.rank + i * self.world_size
            first = place % total // self.repeats
            # past the end the first images come again, as further repeats
            yield self.epoch, order[first], place - first * self.repeats

    def __len__(self) -> int:
        count = len(self.dataset)
        if count < ROUND:
            return -(-count // self.world_size)
        return count // ROUND * ROUND // self.world_size
