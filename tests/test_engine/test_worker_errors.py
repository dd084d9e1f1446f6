"""Errors of data-loader workers that die."""

import multiprocessing
import os
import re
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader

from mmssl.core import UserError
from mmssl.engine.loaders import SILENCE
from mmssl.engine.worker_errors import worker_error

from ..helpers.refusals import check_refusal, refuses
from ..helpers.tiny import make_runner


class Die:
    """Kill the process at one image."""

    def __call__(self, item):
        if item['path'].endswith('red/3.png'):
            os.kill(os.getpid(), signal.SIGKILL)
        return dict(inputs=torch.zeros(1), data_samples=dict(index=item['index']))


def test_a_dead_worker_is_named_with_its_image(image_folder, tmp_path, tiny_config):
    runner = make_runner(tiny_config(), tmp_path, train_dataloader__num_workers=2)
    runner.train_dataloader.dataset.transforms = [Die()]
    runner.train_loop.run_iter = lambda idx, batch: None
    with pytest.raises(UserError) as caught:
        runner.train()
    message = str(caught.value)
    assert re.match(r'loader worker \d+ \(reading \S+/train/red/3\.png\) ', message), message
    assert message.endswith('continue with --resume')


class Hang:
    """Take very long for one image."""

    def __call__(self, item):
        if item['path'].endswith('red/3.png'):
            time.sleep(600)
        return dict(inputs=torch.zeros(1), data_samples=dict(index=item['index']))


@pytest.mark.slow
def test_a_silent_worker_is_named_with_its_image(image_folder, tmp_path, tiny_config):
    options = dict(train_dataloader__num_workers=2, train_dataloader__timeout=8)
    runner = make_runner(tiny_config(), tmp_path, **options)
    runner.train_dataloader.dataset.transforms = [Hang()]
    runner.train_loop.run_iter = lambda idx, batch: None
    before = set(multiprocessing.active_children())
    with refuses('file', f'{image_folder}/train/red/3.png'):
        runner.train()
    for process in set(multiprocessing.active_children()) - before:
        process.join(5)
        assert not process.is_alive()  # killed: it reads on, and would outlive the run


def test_loaders_with_workers_have_a_limit(tmp_path, tiny_config):
    for workers, given, limit in (
        (1, {}, SILENCE),
        (1, dict(train_dataloader__timeout=7), 7),
        (0, {}, 0),
    ):
        options = dict(train_dataloader__num_workers=workers, **given)
        runner = make_runner(tiny_config(), tmp_path / f'{workers}{limit}', **options)
        assert runner.train_dataloader.timeout == limit


def test_workers_that_trace_nothing():
    found = worker_error(RuntimeError('DataLoader timed out after 5.5 seconds'), [DataLoader([1])])
    check_refusal(found, 'timeout', 5.5)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            'DataLoader worker (pid 12) is killed by signal: Killed. ',
            'loader worker 12 is killed by signal: Killed: the system ran out of memory',
        ),
        (
            'DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that',
            r'loader worker 12 is killed by signal: Bus error: shared memory \(/dev/shm\) is full',
        ),
        (
            'DataLoader worker (pid(s) 12, 13) exited unexpectedly',
            'loader worker 12, 13 exited unexpectedly: see the lines above, or run with num_',
        ),
        ('CUDA error: out of memory', None),
    ],
)
def test_what_torch_says_is_put_plainly(text, expected):
    found = worker_error(RuntimeError(text), [DataLoader([1])])
    assert (found is None) if expected is None else re.match(expected, str(found))
