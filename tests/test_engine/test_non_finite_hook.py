"""Non-finite losses, errors on one rank: all ranks stop, one line is logged, no state is lost."""

import errno
import json
import math
import sys

import pytest
import torch
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.engine.error_advice import advise_on_errors
from mmssl.engine.hooks import non_finite_hook

from ..helpers.methods import batch, build, state
from ..helpers.paths import REPO
from ..helpers.refusals import refuses
from ..helpers.tiny import Watch, log, losses, make_runner, weights

sys.path.insert(0, str(REPO / 'tools' / 'dev' / 'faults'))
import breaker

SGD = dict(
    optim_wrapper__optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
    train_cfg__max_epochs=2,
    val_cfg=None,
    val_dataloader=None,
    val_evaluator=None,
)


def broken(config, folder, rank=0, step=6, **options):
    """A runner whose images are not finite at one step of one rank."""
    runner = make_runner(config, folder, **SGD, **options)
    runner.register_hook(breaker.Breaker('nan', step, rank))
    return runner


def _stop(config, folder):
    runner = broken(
        config, folder, 1, launcher='pytorch', train_dataloader__batch_size=3, sync_bn='torch'
    )
    with pytest.raises(UserError) as caught:
        runner.train()
    return str(caught.value), runner.iter


def test_one_ranks_nan_stops_all_with_one_report(two_ranks, tiny_config, tmp_path):
    (first, at), (second, also) = two_ranks(_stop, tiny_config('vit'), tmp_path)
    assert first == second
    assert (at, also) == (5, 5)
    # the keys of rank 1 are negatives of rank 0, so both losses are none
    assert first.startswith('iteration 6: the loss of rank 0 is nan, the loss of rank 1 is nan')
    assert 'non_finite_iter_6.json' in first
    report = json.loads((tmp_path / 'non_finite_iter_6.json').read_text())
    assert (report['iteration'], report['epoch']) == (6, 2)
    assert [r['rank'] for r in report['ranks']] == [0, 1]
    files = [f for r in report['ranks'] for f in r['files']]
    assert len(files) == len(set(files)) == 6  # of the step, each rank its own
    assert all(f.endswith('.png') for f in files)
    saved = read(tmp_path / 'iter_6.pth')
    assert saved['progress']['iter'] == 6
    assert all(torch.isfinite(v).all() for v in saved['state_dict'].values())


@pytest.mark.parametrize('kind', ['vit', 'resnet'])
def test_a_skipped_step_leaves_only_the_teachers_move(tiny_config, tmp_path, kind):
    """Weights and statistics of the student are those before the step."""
    seen = {}

    def keep(runner, _):
        seen[runner.iter + 1] = weights(runner)

    runner = broken(tiny_config(kind), tmp_path, default_hooks__non_finite__action='skip')
    runner.register_hook(Watch(keep))
    found = losses(runner)
    assert [math.isfinite(x) for x in found] == [i != 5 for i in range(8)]
    assert 'iteration 6: the loss of rank 0 is nan' in log(tmp_path)
    assert 'the update is skipped' in log(tmp_path)
    before, after = seen[5], seen[6]
    for name, value in after.items():
        if name.startswith('student') and 'num_batches' not in name:
            assert torch.equal(value, before[name]), name
    assert all(torch.isfinite(v).all() for v in weights(runner).values())


def test_patience_ends(tiny_config, tmp_path):
    runner = broken(
        tiny_config(),
        tmp_path,
        default_hooks__non_finite=dict(type='NonFiniteHook', action='skip', patience=1),
    )
    runner.register_hook(breaker.Breaker('nan', 7))
    with pytest.raises(non_finite_hook.NonFinite, match=r'iteration 7: .* 2 times in a row'):
        runner.train()


def test_a_bad_gradient_of_a_good_loss_is_named(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, **SGD)
    parameters = dict(runner.model.named_parameters())
    name = next(n for n in parameters if n.startswith('student.neck') and parameters[n].ndim == 2)
    parameters[name].register_hook(lambda grad: grad * float('inf'))
    with pytest.raises(non_finite_hook.NonFinite, match='iteration 1: a gradient is not finite'):
        runner.train()
    report = json.loads((tmp_path / 'non_finite_iter_1.json').read_text())
    assert report['ranks'][0]['parameters'] == [name]
    assert math.isfinite(report['ranks'][0]['losses']['loss'])


def test_an_unknown_policy_is_refused():
    with refuses('NonFiniteHook.action', 'ignore'):
        non_finite_hook.NonFiniteHook('ignore')


@pytest.mark.parametrize('name', ['moco', 'moby', 'swav', 'esvit', 'sere'])
def test_a_dropped_step_is_forgotten(name):
    """Queues and centres take in the next step as if the dropped one had never been."""
    models = [build(name), build(name)]
    for model in models:
        views, info = batch(name, 4, seed=1)
        model(views, info, mode='loss')
        model.drop_step()
        if model is models[1]:  # this one sees another bad batch
            views, info = batch(name, 4, seed=2)
            model(views, info, mode='loss')
            model.drop_step()
        for n, b in model.named_buffers():
            if 'running' in n or 'num_batches' in n:
                b.zero_()
    for model in models:
        model.end_step()
    a, b = map(state, models)
    for n in a:
        if n.startswith(('queue', 'head', 'region_head', 'center')):
            assert_close(a[n], b[n], rtol=0, atol=0, msg=n)


# machine ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (OSError(errno.ENOSPC, 'x', '/runs/run.json'), '/runs/run.json: No space left on device'),
        (OSError(errno.EROFS, 'x', '/runs'), '/runs: Read-only file system'),
        (PermissionError(errno.EACCES, 'x', '/runs'), 'pass a writable --work-dir'),
        (torch.OutOfMemoryError('CUDA out of memory. Tried'), 'lower train_dataloader.batch_size'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 'accumulative_counts'),
        (MemoryError(), 'out of memory'),
    ],
)
def test_errors_of_the_machine_become_advice(error, words):
    with pytest.raises(UserError) as caught, advise_on_errors():
        raise error
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)
    assert 'continue with --resume' in str(caught.value)


@pytest.mark.parametrize(
    'error', [RuntimeError('shapes differ'), FileNotFoundError(errno.ENOENT, 'x'), ValueError()]
)
def test_errors_of_the_program_keep_their_traceback(error):
    with pytest.raises(type(error)), advise_on_errors():
        raise error


def test_a_read_only_work_dir_is_one_line(tiny_config, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, 'x', str(path))

    monkeypatch.setattr('os.makedirs', refuse)
    with refuses('file', str(tmp_path / 'work')) as caught:
        make_runner(tiny_config(), tmp_path / 'work')
    assert 'Read-only file system' in str(caught.value)


def test_a_disk_that_fills_up_is_one_line(tiny_config, tmp_path, monkeypatch):
    """Whatever is written first, the checkpoints before it stay."""
    runner = make_runner(tiny_config(), tmp_path, **SGD)

    def refuse(*_):
        raise OSError(errno.ENOSPC, 'x', 'run.json')

    monkeypatch.setattr('mmssl.engine.hooks.run_info_hook.RunInfoHook._write', refuse)
    with refuses('file', 'run.json') as caught:
        runner.train()
    assert 'No space left on device' in str(caught.value)
    assert read(tmp_path / 'epoch_1.pth')['progress']['iter'] == 4
