"""Workers of loaders: those of the config, at most the cores of the process."""

import multiprocessing
import os
import random
import signal
import time

import pytest
from mmengine.registry import DefaultScope
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from mmssl.datasets import ImageDataset
from mmssl.engine import Runner
from mmssl.engine.loaders import end_workers, tell_epoch
from mmssl.registry import TRANSFORMS

from ..helpers.tiny import Watch, log, make_runner

OFF = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


@pytest.mark.parametrize(
    ('cores', 'wanted', 'found'), [(1, 0, 0), (1, 2, 1), (2, 8, 2), (3, 2, 2), (16, 8, 8)]
)
def test_a_loader_has_one_worker_a_core_at_most(
    tiny_config, tmp_path, monkeypatch, cores, wanted, found
):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)))
    runner = make_runner(tiny_config(), tmp_path, **OFF, train_dataloader__num_workers=wanted)
    loader = runner.build_dataloader(runner._train_dataloader, seed=0)
    assert loader.num_workers == found
    assert loader.sampler.workers == max(1, found)
    lowered = f'num_workers={wanted} lowered to {found}, the cores of this process'
    assert log(tmp_path).count('lowered') == log(tmp_path).count(lowered) == (found < wanted)


def _workers(path, folder):
    ask, os.sched_getaffinity = os.sched_getaffinity, lambda _: set(range(6))
    try:
        options = dict(OFF, train_dataloader__num_workers=8)
        runner = make_runner(path, folder, **options, launcher='pytorch')
        return runner.build_dataloader(runner._train_dataloader, seed=0).num_workers
    finally:
        os.sched_getaffinity = ask


def test_two_processes_share_the_cores_of_their_machine(tiny_config, tmp_path, two_ranks):
    assert two_ranks(_workers, tiny_config(), tmp_path) == [3, 3]


# processes ----------------------------------------------------------------------------------------
WORKERS = dict(
    train_cfg__max_epochs=1,
    train_dataloader__num_workers=1,
    train_dataloader__persistent_workers=True,
    val_dataloader__num_workers=1,
    val_dataloader__persistent_workers=True,
)


def _pids_of_workers():
    return {child.pid for child in multiprocessing.active_children()}


@pytest.mark.parametrize('fails', [False, True])
def test_no_process_of_a_loader_outlives_a_run(tiny_config, tmp_path, fails):
    """Those of the monitor neither: Python would wait for each until its patience is over."""
    before = _pids_of_workers()
    runner = make_runner(tiny_config(), tmp_path, **WORKERS)
    seen = set()

    def watch(running, _):
        seen.update(_pids_of_workers() - before)
        if fails and running.iter == 2:
            raise ZeroDivisionError

    runner.register_hook(Watch(watch))
    if fails:
        with pytest.raises(ZeroDivisionError):
            runner.train()
    else:
        runner.train()
    assert seen
    assert _pids_of_workers() == before


# views change by epoch, whatever lies around the images -----------------------------------------
@TRANSFORMS.register_module()
class DrawOne:
    """Give the random number that a view would begin with."""

    def __call__(self, item):
        return item['rng'].random()


class Half(Dataset):
    """A wrapper of a user's own."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset) // 2

    def __getitem__(self, i):
        return self.dataset[2 * i]


# name: (what lies around the images, the images that are met)
AROUND = {
    'nothing': (lambda one: one, range(24)),
    'Subset': (lambda one: Subset(one, [5, 2, 7]), [5, 2, 7]),
    'ConcatDataset': (lambda one: ConcatDataset([one, Subset(one, [3])]), [*range(24), 3]),
    'of their own': (Half, range(0, 24, 2)),
    'all of them': (lambda one: Half(Subset(ConcatDataset([one, one]), [30, 1, 2, 3])), [6, 2]),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('name', AROUND)
def test_every_wrapper_learns_the_epoch(image_folder, name, workers):
    """mmengine's wrappers take no data sets but mmengine's, torch's take any."""
    images = ImageDataset(str(image_folder), 'train', pipeline=[dict(type='DrawOne')], seed=7)
    wrap, indices = AROUND[name]
    data = wrap(images)
    settings = dict(batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    loader = DataLoader(data, **settings)
    for epoch in (0, 1, 4):
        tell_epoch(data, epoch)
        assert list(loader) == [random.Random(f'7-{epoch}-{i}').random() for i in indices]


# processes that do not end by themselves ---------------------------------------------------------
ASKED = multiprocessing.Event()


class Stuck(Dataset):
    """Images of a storage that does not answer."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        ASKED.set()
        time.sleep(600)


def test_a_process_that_goes_on_reading_is_killed():
    """It outlives SIGTERM, as every process of ours; Python would wait for it at its end."""
    before = _pids_of_workers()
    ASKED.clear()
    settings = dict(batch_size=2, num_workers=1, dataset=Stuck(), persistent_workers=True)
    sampler = dict(type='EpochSampler', shuffle=False)
    with DefaultScope.overwrite_default_scope('mmssl'):
        loader = Runner.build_dataloader(dict(settings, sampler=sampler), seed=0)
    iterator = iter(loader)
    (process,) = iterator._workers
    assert _pids_of_workers() - before == {process.pid}
    assert ASKED.wait(30)
    end_workers(loader)
    process.join(1)
    assert process.exitcode == -signal.SIGKILL
    assert _pids_of_workers() == before
