"""Sampler of the order in which the images of an epoch are read, over ranks and workers."""

import math
import random
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..core import UserError, dist
from ..core.protocols import EpochAddressed
from ..registry import DATA_SAMPLERS
from .sources.shards import WINDOW


def refuse_repeat_factors(dataset: Any, sampler: Any) -> None:
    """Raise UserError where images shall come several times and a sampler would not obey."""
    if getattr(dataset, 'repeat_factors', None) is not None:  # only an ImageDataset has them
        raise UserError(
            f'sampler.type={sampler!r} reads each image as often as every other, and the data '
            "set has repeats, weights or balance; use type='EpochSampler'",
            key='sampler.type',
            value=sampler,
        )


def refuse_stream(dataset: Any, sampler: Any) -> None:
    """Raise UserError where a stream would be read in another order than its own, or once each."""
    if getattr(dataset, 'locality', None) == 'stream':
        raise UserError(
            f'sampler.type={sampler!r}: a stream is read in its own order, and in training alone; '
            "use type='EpochSampler', shuffle=True for it, and for banks and evaluation a data set "
            'that is read by number (HuggingFaceSource, ParquetSource)',
            key='sampler.type',
            value=sampler,
        )


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler[Any]):
    """Yield (epoch, index) for this rank, or the index alone where the data set takes no epoch.

    Rank r of W takes every W-th of one order shared by all ranks, so a global batch holds the
    same images for any W with the same global batch size. ``shuffle`` draws the order from
    (seed, epoch). ``even`` drops the tail that would give ranks unequal counts (training);
    otherwise every image is read exactly once (evaluation). `skip` is the number of images that
    an interrupted epoch has already read; they are left out without reading them.

    The data set's ``locality`` changes the shuffled order of three storages: 'rank' (a cache of
    this rank's share: always images r, r + W, ...), 'shard' (see `_by_shards`) and 'stream' (see
    `_by_streams`). Images of a data
    set with ``repeat_factors`` come that often, on average over epochs (`_repeated`). Raises
    UserError when ``even`` leaves a rank without images, and for a stream that is not shuffled.
    """

    exact = True  # a resumed run meets the same images

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = 0, even: bool | None = None
    ) -> None:
        self.dataset: Any = dataset  # with a source where it has a locality
        self.shuffle = shuffle
        self.seed = seed or 0
        self.even = shuffle if even is None else even
        self.rank = dist.rank()
        self.world_size = dist.world_size()
        self.epoch = 0
        self.skip = 0
        self.batch_size = 1
        self.workers = 1
        self.locality = None
        self.factors: NDArray[Any] | None = None
        self.count = len(dataset)  # images of an epoch, over all ranks
        if shuffle and self.even:
            # anything with a length is sampled; only an ImageDataset has these
            self.locality = getattr(dataset, 'locality', None)
            self.factors = getattr(dataset, 'repeat_factors', None)
        else:
            refuse_stream(dataset, 'EpochSampler(shuffle=False)')
        if self.factors is not None:
            self.count = round(float(self.factors.sum()))
        if self.even and self.count < self.world_size:
            raise UserError(
                f'dataset: {self.count} images cannot feed {self.world_size} processes; start '
                'fewer processes or give more images',
                key='dataset',
                value=self.count,
            )

    def serve(self, batch_size: int, workers: int) -> None:
        """Set how the loader reads: batches of ``batch_size`` go to each of ``workers`` in turn."""
        self.batch_size = batch_size
        self.workers = max(1, workers)
        if self.locality == 'stream':
            self.dataset.source.streams = self.world_size * self.workers

    @property
    def fixed_workers(self) -> bool:
        """Whether the order is made for a number of workers: that of shards and streams is."""
        return self.locality in ('shard', 'stream')

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order and the random numbers of the items."""
        self.epoch = epoch

    def seek(self, epoch: int, images: int) -> None:
        """Leave out the first ``images`` of the coming epoch, which were read before a stop."""
        self.skip = images

    def _order(self) -> list[int]:
        """Return this rank's indices of the epoch."""
        count = len(self.dataset)
        if self.locality == 'shard':
            return self._by_shards()
        if self.locality == 'stream':
            return self._by_streams()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if self.locality == 'rank':
            generator.manual_seed((self.seed * 1_000_003 + self.epoch) * 1009 + self.rank)
            mine = torch.arange(self.rank, count, self.world_size)
            return mine[torch.randperm(len(mine), generator=generator)].tolist()[: len(self)]
        if self.shuffle:
            order = torch.randperm(count, generator=generator).tolist()
        else:
            order = list(range(count))
        if self.even:
            order = order[: count - count % self.world_size]
        return order[self.rank :: self.world_size]

    def _repeated(self, factors: NDArray[Any]) -> list[tuple[int, int]]:
        """Return this rank's pairs (index, repeat), images repeated by ``factors`` (N,).

        Image i comes floor(factors[i]) times or once more, so that the epoch's length is fixed:
        systematic sampling, at evenly spaced points of the cumulative factors. Images of one factor
        are neighbours there, in a random order, so that their share of an epoch is fixed too.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(factors), generator=generator)
        order = order[np.argsort(factors[order.numpy()], kind='stable')]
        ends = np.cumsum(factors[order.numpy()])
        ends *= self.count / ends[-1]
        ends[-1] = self.count
        start = float(torch.rand((), generator=generator, dtype=torch.float64))
        counts = np.diff(np.floor(ends - start), prepend=np.floor(-start)).astype(np.int64)
        pairs = [(int(i), k) for i, n in zip(order, counts, strict=True) for k in range(n)]
        shuffled = torch.randperm(len(pairs), generator=generator)
        shuffled = shuffled[: self.count - self.count % self.world_size]
        return [pairs[i] for i in shuffled[self.rank :: self.world_size].tolist()]

    def _by_shards(self) -> list[int]:
        """Shuffle whole shards, cut their row into one run per worker of all ranks, shuffle each
        run within windows, and deal out its batches when it is that worker's turn.

        So a shard is read by one worker, or two where a run ends in it. The order depends on the
        numbers of ranks and workers; what an image becomes does not.
        """
        rng = random.Random(f'shards-{self.seed}-{self.epoch}')
        source = self.dataset.source
        ends = list(source.ends)
        shards = list(range(len(ends)))
        rng.shuffle(shards)
        counts = source.shards
        row = [i for s in shards for i in range(ends[s] - counts[s], ends[s])]
        length = self._images_per_worker()
        runs = []
        for worker in range(self.workers):
            begin = (self.rank * self.workers + worker) * length
            run = row[begin : begin + length]
            for at in range(0, length, WINDOW):
                window = run[at : at + WINDOW]
                random.Random(f'{self.seed}-{self.epoch}-{begin + at}').shuffle(window)
                run[at : at + WINDOW] = window
            runs.append(run)
        size = self.batch_size
        starts = range(0, length - length % size, size)
        return [i for start in starts for run in runs for i in run[start : start + size]]

    def _by_streams(self) -> list[int]:
        """Return the images of this rank's streams, one for each worker, in batches by turns.

        The source shuffles. After a stop another worker may go on with a stream.
        """
        streams = self.world_size * self.workers
        mine = range(self.rank * self.workers, (self.rank + 1) * self.workers)
        size = self.batch_size
        length = self._images_per_worker()
        starts = range(0, length - length % size, size)
        return [
            position * streams + stream
            for start in starts
            for stream in mine
            for position in range(start, start + size)
        ]

    def _images_per_worker(self) -> int:
        """Return how many images each worker of each rank reads of shards or streams."""
        return len(self.dataset) // (self.world_size * self.workers)

    def __iter__(self) -> Iterator[int | tuple[int, ...]]:
        if self.factors is not None:
            pairs = self._repeated(self.factors)[self.skip :]
            return ((self.epoch, i, k) if k else (self.epoch, i) for i, k in pairs)
        order = self._order()[self.skip :]
        if isinstance(self.dataset, EpochAddressed) and self.dataset.takes_epoch:
            return ((self.epoch, index) for index in order)
        return iter(order)

    def __len__(self) -> int:
        if self.fixed_workers:
            length = self._images_per_worker()
            return (length - length % self.batch_size) * self.workers
        if self.even:
            return self.count // self.world_size
        return math.ceil((len(self.dataset) - self.rank) / self.world_size)


EXACT = ('DefaultSampler', 'InfiniteSampler')  # of mmengine: their order follows from their seed


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler[Any]):
    """A ``sampler`` of another library that can begin within an epoch.

    An epoch takes ``len(sampler)`` indices; those of an endless sampler go on where the epoch
    before has ended. `exact` tells whether a resumed run meets the same images: others than
    mmengine's may draw from generators that nobody has stored. Raises UserError as
    `refuse_repeat_factors` and `refuse_stream` do.
    """

    def __init__(self, dataset: Sized, sampler: dict[str, Any], seed: int | None = None) -> None:
        refuse_repeat_factors(dataset, sampler.get('type'))
        refuse_stream(dataset, sampler.get('type'))
        self.sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
        self.exact = type(self.sampler).__name__ in EXACT
        self.endless = isinstance(self.sampler, InfiniteSampler)
        self.skip = 0
        self.position = 0  # indices of an endless sampler that were taken
        self.stream = iter(self.sampler) if self.endless else None

    def set_epoch(self, epoch: int) -> None:
        """Tell the sampler the epoch, if it wants to know."""
        tell = getattr(self.sampler, 'set_epoch', None)
        if tell is not None:
            tell(epoch)

    def seek(self, epoch: int, images: int) -> None:
        """Go on after ``images`` of ``epoch`` that were read before a stop."""
        self.skip = images
        if self.stream is not None:
            self._take(epoch * len(self) - self.position)

    def _take(self, count: int) -> None:
        """Drop ``count`` indices of an endless sampler."""
        assert self.stream is not None
        self.position += sum(1 for _ in islice(self.stream, count))

    def __iter__(self) -> Iterator[int]:
        if self.stream is None:
            yield from islice(iter(self.sampler), self.skip, None)
            return
        # a loader may have stopped before the end of an epoch
        self._take(-self.position % len(self))
        self._take(self.skip)
        for index in islice(self.stream, len(self) - self.skip):
            self.position += 1
            yield index

    def __len__(self) -> int:
        """Return the indices of an epoch; an endless sampler gives each rank its share."""
        if self.endless:
            found: int = len(self.sampler.dataset) // self.sampler.world_size
            return found
        return len(self.sampler)
