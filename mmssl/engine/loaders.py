"""Build data loaders whose samples are seeded by (seed, epoch, index) on any machine."""

import copy
import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from ..core import UserError, dist
from ..core.cores import own_cores
from ..core.protocols import EpochFollower, LoaderSampler, OrdersForWorkers
from ..registry import DATASETS
from .signals import WorkerSignals

SILENCE = 1800  # seconds without a batch, where the loader's own ``timeout`` says nothing
SEEKABLE = ('EpochSampler', 'RepeatAugSampler', 'ResumableSampler')


def tell_epoch(dataset: Any, epoch: int) -> None:
    """Tell a data set, and those that it wraps, which epoch an index alone belongs to."""
    if isinstance(dataset, EpochFollower):
        dataset.set_epoch(epoch)
    # torch's Subset and ConcatDataset, mmengine's wrappers: the names are all they share
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            tell_epoch(inner, epoch)


def _takes_seed(dataset: dict[str, Any]) -> bool:
    """Whether a data set of a config has an argument ``seed``."""
    kind = dataset.get('type')
    made = DATASETS.get(kind) if isinstance(kind, str) else kind
    return made is not None and 'seed' in inspect.signature(made).parameters


class Workers:
    """The processes of a loader, so that they can be ended when nothing more is read.

    Takes the place of the loader's ``_get_iterator``: torch keeps no list of what it has started,
    and leaves it to the garbage collector, or to the end of the interpreter, to end it.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.begin = loader._get_iterator
        self.iterators: WeakSet[Any] = WeakSet()

    def __call__(self) -> Any:
        """Begin to iterate, as torch does."""
        iterator = self.begin()
        self.iterators.add(iterator)
        return iterator

    def end(self) -> None:
        """Let all processes end; those that go on reading are killed, and lose nothing.

        At the end of the interpreter Python would only send SIGTERM, which ours outlive.
        """
        for iterator in self.iterators:
            # an iterator without processes has neither
            end = getattr(iterator, '_shutdown_workers', None)
            if end is not None:
                end()
            for process in getattr(iterator, '_workers', ()):
                process.kill()


def end_workers(loader: Any) -> None:
    """End the processes of a loader that `build` made; a config of one has none."""
    if isinstance(loader, DataLoader) and isinstance(loader._get_iterator, Workers):
        loader._get_iterator.end()
        loader._iterator = None


def build(
    settings: dict[str, Any],
    make: Callable[..., DataLoader[Any]],
    seed: int | None,
    diff_rank_seed: bool,
) -> DataLoader[Any]:
    """Build a loader by mmengine's ``make``, with at most one worker for each core.

    ``num_workers`` of the settings is the most that pay. Raises UserError when the loader would
    hold no batch.
    """
    cfg = copy.deepcopy(settings)
    cfg.setdefault('collate_fn', dict(type='default_collate'))
    if isinstance(cfg.get('dataset'), dict) and _takes_seed(cfg['dataset']):
        cfg['dataset'].setdefault('seed', seed or 0)
    sampler = cfg.get('sampler')
    if isinstance(sampler, dict) and sampler.get('type') not in (None, *SEEKABLE):
        cfg['sampler'] = dict(type='ResumableSampler', sampler=sampler)
    wanted = cfg.get('num_workers') or 0
    # more workers than cores only take turns
    cfg['num_workers'] = min(wanted, own_cores())
    if not wanted:
        cfg['persistent_workers'] = False
    if not torch.cuda.is_available():
        cfg['pin_memory'] = False
    built = make(cfg, seed=seed, diff_rank_seed=diff_rank_seed)
    tell_epoch(built.dataset, 0)  # evaluation stays there, training goes on
    # beginning to iterate draws a number: from here, so that a resumed network draws the same
    built.generator = torch.Generator().manual_seed(seed or 0)
    built.worker_init_fn = WorkerSignals(built.worker_init_fn)
    built._get_iterator = Workers(built)  # type: ignore[method-assign]
    if isinstance(built.sampler, OrdersForWorkers) and built.sampler.fixed_workers:
        built.num_workers = wanted  # a resumed run must meet the same order on any machine
    if built.num_workers and not built.timeout:
        built.timeout = SILENCE
    if isinstance(built.sampler, LoaderSampler):
        built.sampler.serve(built.batch_size, built.num_workers)
    if built.num_workers < wanted:
        lowered = f'num_workers={wanted} lowered to {built.num_workers}'
        print_log(f'{lowered}, the cores of this process', 'current')
    if len(built) == 0:
        images = len(built.dataset)  # type: ignore[arg-type]
        raise no_batch(images, built.batch_size, dist.world_size())
    return built


def no_batch(images: int, batch_size: int | None, processes: int) -> UserError:
    """Return the error of a training set that is smaller than a batch of all processes."""
    return UserError(
        f'{images} images make no batch of {batch_size} on each of {processes} processes; lower it '
        f'by --cfg-options train_dataloader.batch_size={max(images // processes, 1)}',
        key='train_dataloader.batch_size',
        value=batch_size,
    )
