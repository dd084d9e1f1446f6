"""Build data loaders whose samples are seeded by (seed, epoch, index) on any machine."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..core import UserError, dist
from ..core.protocols import EpochFollower, LoaderSampler
from .signals import WorkerSignals


def tell_epoch(dataset: Any, epoch: int) -> None:
    """Tell a data set, and those that it wraps, which epoch an index alone belongs to."""
    if isinstance(dataset, EpochFollower):
        dataset.set_epoch(epoch)
    # torch's Subset and ConcatDataset, mmengine's wrappers: the names are all they share
    for inner in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
        if inner is not None:
            tell_epoch(inner, epoch)


def build(
    settings: dict[str, Any],
    make: Callable[..., DataLoader[Any]],
    seed: int | None,
    diff_rank_seed: bool,
) -> DataLoader[Any]:
    """Build a loader by mmengine's ``make``; raise UserError when it would hold no batch."""
    cfg = copy.deepcopy(settings)
    cfg.setdefault('collate_fn', dict(type='default_collate'))
    if isinstance(cfg.get('dataset'), dict):
        cfg['dataset'].setdefault('seed', seed or 0)
    if not cfg.get('num_workers'):
        cfg['persistent_workers'] = False
    if not torch.cuda.is_available():
        cfg['pin_memory'] = False
    built = make(cfg, seed=seed, diff_rank_seed=diff_rank_seed)
    tell_epoch(built.dataset, 0)  # evaluation stays there, training goes on
    # beginning to iterate draws a number: from here, so that a resumed network draws the same
    built.generator = torch.Generator().manual_seed(seed or 0)
    built.worker_init_fn = WorkerSignals(built.worker_init_fn)
    if isinstance(built.sampler, LoaderSampler):
        built.sampler.serve(built.batch_size, built.num_workers)
    if len(built) == 0:
        raise UserError(
            f'{len(built.dataset)} images make no batch of {built.batch_size} on each of '  # type: ignore[arg-type]
            f'{dist.world_size()} processes; lower train_dataloader.batch_size',
            key='train_dataloader.batch_size',
            value=built.batch_size,
        )
    return built
