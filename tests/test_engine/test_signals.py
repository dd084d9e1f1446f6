"""Stop by a signal: the state is saved after the step, and the continuation is bit-equal."""

import os
import signal
import subprocess
import sys

import pytest

from mmssl.checkpoint import read
from mmssl.core import dist
from mmssl.core.host_values import as_number
from mmssl.engine.signals import WorkerSignals

from ..helpers.tiny import Watch, log, losses, make_runner

SETTINGS = dict(
    train_cfg__max_epochs=2,
    val_cfg=None,
    val_dataloader=None,
    val_evaluator=None,
    model__backbone__drop_path_rate=0.3,
)


def cut(runner, step, number, rank=0):
    """Train with a signal arriving during a step; return the losses and the exit status."""
    seen = []

    def look(runner, outputs):
        seen.append(as_number(outputs['loss']))

    class Send(Watch):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter + 1 == step and dist.rank() == rank:
                os.kill(os.getpid(), number)

    watch = Send(look)
    watch.priority = 'VERY_HIGH'
    runner.register_hook(watch)
    with pytest.raises(SystemExit) as end:
        runner.train()
    return seen, end.value.code


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_ends_and_the_rest_is_bit_equal(tiny_config, tmp_path, number):
    whole = losses(make_runner(tiny_config(), tmp_path / 'whole', **SETTINGS))
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)]
    runner = make_runner(
        tiny_config(), tmp_path / 'cut', **SETTINGS, train_dataloader__num_workers=1
    )
    seen, code = cut(runner, 3, number)
    assert code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)] == before
    assert f'{number.name}: state saved; continue with --resume' in log(tmp_path / 'cut')
    assert read(tmp_path / 'cut' / 'iter_3.pth')['progress']['iter'] == 3
    rest = losses(make_runner(tiny_config(), tmp_path / 'cut', **SETTINGS, resume=True))
    assert seen + rest == whole
    assert sorted(p.name for p in (tmp_path / 'cut').glob('*.pth')) == [
        'epoch_1.pth',
        'epoch_2.pth',
    ]


def test_in_the_last_step_of_an_epoch_the_file_is_the_epochs(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **SETTINGS)
    seen, _ = cut(runner, 4, signal.SIGTERM)
    assert len(seen) == 5  # one more step, after which it leaves
    assert read(tmp_path / 'iter_5.pth')['progress']['iter'] == 5
    assert (tmp_path / 'epoch_1.pth').is_file()


def _cut(path, folder):
    runner = make_runner(
        path, folder, launcher='pytorch', train_dataloader__batch_size=3, **SETTINGS
    )
    seen, code = cut(runner, 3, signal.SIGTERM, rank=1)
    return len(seen), code


def test_a_signal_to_one_rank_ends_all_after_the_same_step(two_ranks, tiny_config, tmp_path):
    assert two_ranks(_cut, tiny_config(), tmp_path) == [(3, 143), (3, 143)]
    assert read(tmp_path / 'iter_3.pth')['progress'] == dict(
        iter=3, per_epoch=4, batch=6, batch_size=3, processes=2, best=None
    )


def test_a_worker_outlives_the_request():
    code = (
        'import os, signal, time\n'
        'from mmssl.engine import signals\n'
        'signals.GRACE = 1\n'
        'signals.WorkerSignals(None)(0)\n'
        'os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGTERM)\n'
        'print("alive", flush=True); time.sleep(9)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout == 'alive\n'
    assert done.returncode == -signal.SIGALRM
    told = []
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)}
    WorkerSignals(told.append)(3)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert told == [3]
