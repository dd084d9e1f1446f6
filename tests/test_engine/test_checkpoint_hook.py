"""Which files a run leaves."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
from mmengine.hooks import Hook

from mmssl.checkpoint import read
from mmssl.core import UserError, dist
from mmssl.engine import CheckpointHook
from mmssl.engine.state.work_dir_files import check_work_dir

from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import log, make_runner, scalars


def files(folder):
    return sorted(p.name for p in folder.glob('*.pth'))


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(interval=2, max_keep_ckpts=-1), ['epoch_2.pth', 'epoch_3.pth']),
        (dict(interval=1, max_keep_ckpts=2), ['epoch_2.pth', 'epoch_3.pth']),
        (dict(interval=9, max_keep_ckpts=1), ['epoch_3.pth']),
    ],
)
def test_interval_end_and_pruning(tiny_config, tmp_path, settings, expected):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        **{f'default_hooks__checkpoint__{k}': v for k, v in settings.items()},
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
    )
    runner.train()
    assert files(tmp_path) == expected
    assert [read(tmp_path / f)['progress']['iter'] for f in expected] == [
        4 * int(f[6]) for f in expected
    ]


def test_pruning_counts_epochs_not_letters(tiny_config, tmp_path):
    """epoch_10 is younger than epoch_9."""
    runner = make_runner(
        tiny_config(),
        tmp_path,
        train_cfg=dict(max_epochs=10, val_interval=99),
        default_hooks__checkpoint__max_keep_ckpts=2,
        train_dataloader__batch_size=24,
    )
    runner.train()
    assert files(tmp_path) == ['epoch_10.pth', 'epoch_9.pth']


def test_the_best_is_kept(tiny_config, tmp_path):
    runner = make_runner(
        tiny_config(), tmp_path, default_hooks__checkpoint__save_best='knn/top1_k5'
    )
    runner.train()
    accuracies = [line['knn/top1_k5'] for line in scalars(tmp_path) if 'knn/top1_k5' in line]
    assert len(accuracies) == 3
    best = read(tmp_path / 'best.pth')['progress']
    assert best['best'] == max(accuracies)
    assert best['iter'] == 4 * (1 + accuracies.index(max(accuracies)))


def test_files_of_later_epochs_are_not_counted_when_an_earlier_one_is_resumed(
    tiny_config, tmp_path
):
    """What the resumed run has just written is what stays."""
    many = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=5)
    keep = 'default_hooks__checkpoint__max_keep_ckpts'
    make_runner(tiny_config(), tmp_path, **many, **{keep: -1}).train()
    path = tmp_path / 'epoch_1.pth'
    runner = make_runner(
        tiny_config(),
        tmp_path,
        **many | {'train_cfg__max_epochs': 3, keep: 1},
        resume=True,
        load_from=str(path),
    )
    runner.train()
    assert files(tmp_path) == ['epoch_3.pth', 'epoch_4.pth', 'epoch_5.pth']


NONE = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, train_cfg__max_epochs=1)


def test_a_second_run_is_refused_before_anything_is_built(tiny_config, tmp_path):
    make_runner(tiny_config(), tmp_path, **NONE).train()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
    with pytest.raises(UserError) as caught:
        make_runner(tiny_config(), tmp_path, **NONE)
    said = str(caught.value)
    assert '\n' not in said
    for word in (str(tmp_path), 'epoch_1.pth', '--resume', '--work-dir', '--overwrite'):
        assert word in said
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')} == before


def test_an_overwritten_run_goes_when_the_new_one_begins(tiny_config, tmp_path):
    make_runner(tiny_config(), tmp_path, **NONE | dict(train_cfg__max_epochs=2)).train()
    runner = make_runner(tiny_config(), tmp_path, **NONE, overwrite=True, randomness=dict(seed=3))
    assert files(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']  # it could still fail to be built
    runner.train()
    assert files(tmp_path) == ['epoch_1.pth']
    assert read(tmp_path / 'epoch_1.pth')['meta']['seed'] == 3


def _refused(folders):
    try:
        check_work_dir(folders[dist.rank()], resume=False, overwrite=False)
    except UserError as error:
        return error.key, error.value
    return None


def test_the_first_rank_decides_for_all(two_ranks, tmp_path):
    """On a network drive the second may see what the first has already written, or not yet."""
    for name in ('used', 'empty'):
        (tmp_path / name).mkdir()
    (tmp_path / 'used' / 'iter_7.pth').touch()
    used, empty = str(tmp_path / 'used'), str(tmp_path / 'empty')
    assert two_ranks(_refused, [empty, used]) == [None, None]
    said = two_ranks(_refused, [used, empty])
    assert said == [('folder', used), ('folder', empty)] or said == [('folder', used)] * 2


# several runs ---------------------------------------------------------------------------------
def test_files_of_another_run_are_not_pruned(tiny_config, tmp_path):
    keep = {'default_hooks__checkpoint__max_keep_ckpts': 1}
    make_runner(tiny_config(), tmp_path / 'a', **NONE).train()
    runner = make_runner(
        tiny_config(), tmp_path / 'b', **NONE | keep | dict(train_cfg__max_epochs=3)
    )
    shutil.copy(tmp_path / 'a' / 'epoch_1.pth', tmp_path / 'b' / 'epoch_0.pth')
    runner.train()
    assert files(tmp_path / 'b') == ['epoch_0.pth', 'epoch_3.pth']


HOLD = """
import sys, time
from mmssl.engine.state.work_dir_files import locked
with locked(sys.argv[1]):
    print('held', flush=True)
    time.sleep(60)
"""


def test_a_work_dir_has_one_run_at_a_time(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **NONE)
    environment = dict(os.environ, PYTHONPATH=str(REPO))
    other = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert other.stdout.readline() == b'held\n'
        with refuses('folder', str(tmp_path)) as caught:
            runner.train()
        assert f'process {other.pid} of {socket.gethostname()}' in str(caught.value)
    finally:
        other.kill()  # its lock goes with it
        other.wait()
    make_runner(tiny_config(), tmp_path, **NONE).train()
    assert files(tmp_path) == ['epoch_1.pth']


# the best and the last ------------------------------------------------------------------------
@pytest.mark.parametrize(('name', 'kept'), [('auto', True), ('knn/top7', False)])
def test_a_metric_that_is_not_measured_is_told_once(tiny_config, tmp_path, name, kept):
    runner = make_runner(tiny_config(), tmp_path, default_hooks__checkpoint__save_best=name)
    runner.train()
    assert ('best.pth' in files(tmp_path)) == kept
    told = [line for line in log(tmp_path).splitlines() if 'no best.pth is kept' in line]
    assert len(told) == (0 if kept else 1)
    assert all('knn/top1' in line for line in told)


def test_a_run_that_stops_early_has_the_name_of_its_epoch(tiny_config, tmp_path):
    class Stop(Hook):
        def after_train_epoch(self, runner):
            runner.train_loop.stop_training = runner.epoch == 1

    runner = make_runner(
        tiny_config(),
        tmp_path,
        **NONE | dict(train_cfg__max_epochs=5),
        default_hooks__checkpoint__interval=9,
    )
    runner.register_hook(Stop())
    runner.train()
    assert files(tmp_path) == ['epoch_2.pth']
    assert read(tmp_path / 'epoch_2.pth')['progress']['iter'] == 8


@pytest.mark.parametrize('hook', ['checkpoint', 'health', 'bad_samples'])
@pytest.mark.parametrize('value', [0, -1, 1.5])
def test_an_interval_is_at_least_one(hook, value, tiny_config, tmp_path):
    with refuses(f'default_hooks.{hook}.interval', value):
        make_runner(tiny_config(), tmp_path, **{f'default_hooks__{hook}__interval': value})
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        *(('interval', 0), ('interval', 1.5), ('max_keep_ckpts', 0), ('max_keep_ckpts', -5)),
        *(('iterations', -1), ('save_best', ['knn/top1']), ('save_best', True)),
    ],
)
def test_settings_that_would_keep_no_file_are_refused(name, value):
    with refuses(f'default_hooks.checkpoint.{name}', value):
        CheckpointHook(**{name: value})


def test_a_best_file_without_a_monitor_is_said_to_be_none(tiny_config, tmp_path):
    options = dict(val_cfg=None, train_cfg__max_epochs=1)
    make_runner(
        tiny_config(), tmp_path, **options, default_hooks__checkpoint__save_best='knn/top1'
    ).train()
    assert files(tmp_path) == ['epoch_1.pth']
    assert log(tmp_path).count('no best.pth is kept') == 1
