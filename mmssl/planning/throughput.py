"""Seconds of a training step on this machine, with the reading of its images."""

import logging
import time
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch.utils.data import default_collate

from ..registry import DATASETS
from .standalone_step import Batch
from .timing import probe

READ = 24  # images that are read and made views of, after a first one


def seconds_of_a_step(cfg: Any, device: str) -> float:
    """Return the time of a step of a config's batch on ``device``, 'cpu' or 'cuda'.

    Worker processes read while it computes, so that the slower of the two counts; without workers
    both do. Raises UserError as data sets do.
    """
    loader = cfg.train_dataloader
    size = loader.batch_size
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # groups are listed at every build
    with DefaultScope.overwrite_default_scope('mmssl'):
        images = DATASETS.build(loader.dataset)
    last_epoch = cfg.train_cfg.max_epochs - 1  # some masks begin later than at 0
    places = [(last_epoch, i * len(images) // READ) for i in range(READ)]
    images[places[0]]
    begin = time.perf_counter()
    items = [images[place] for place in places]
    read = size * (time.perf_counter() - begin) / READ

    def batch_of(_: Any, count: int) -> Batch:
        found: Batch = default_collate([items[i % READ] for i in range(count)])
        return found

    compute = probe(cfg, device, size, batch_of).seconds(size)
    workers = loader.num_workers
    found: float = max(compute, read / workers) if workers else compute + read
    return found
