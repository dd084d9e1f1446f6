"""Workers of loaders: those of the config, at most the cores of the process."""

import multiprocessing
import os

import pytest

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
