"""Accumulated gradients: updates begin with the epoch, and no file is of the inside of one."""

import os
import signal
from copy import deepcopy

import pytest
import torch
from mmengine.hooks import Hook
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.core.host_values import as_number
from mmssl.engine import OptimWrapper

from ..helpers.methods import MODELS_BY_NAME
from ..helpers.refusals import refuses
from ..helpers.tiny import Watch, losses, make_runner, scalars
from ..helpers.training_state import everything

pytestmark = pytest.mark.slow

COUNT = 3  # batches of an update: an epoch of 4 leaves one
ENDS = (3, 7, 11)  # iterations after which an update is complete, in three epochs
# a queue; two centres; a bank of embeddings; nothing that is collected
METHODS = ('moby', 'esvit', 'swav', 'mocov3')
QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


def run(config, folder, name, **options):
    """Build a run of a method."""
    model = dict(deepcopy(MODELS_BY_NAME[name]), _delete_=True)
    settings = dict(QUIET, model=model, optim_wrapper__accumulative_counts=COUNT)
    return make_runner(config, folder, **(settings | options))


@pytest.fixture(scope='module')
def whole(tiny_config, tmp_path_factory):
    """Losses, last state and folder of each method's uninterrupted run."""
    made = {}
    for name in METHODS:
        folder = tmp_path_factory.mktemp(name)
        runner = run(tiny_config(), folder, name)
        made[name] = (losses(runner), everything(runner), folder)
    return made


def assert_same_end(runner, final):
    ours = everything(runner)
    assert ours.keys() == final.keys()
    for key, value in final.items():
        assert torch.equal(ours[key], value), key


@pytest.mark.parametrize(
    ('name', 'at'),
    [('esvit', at) for at in range(1, 8)] + [(name, 2) for name in METHODS if name != 'esvit'],
)
def test_a_signal_waits_for_the_end_of_the_update(tiny_config, tmp_path, whole, name, at):
    """The signal comes during step ``at``, before its gradients."""
    first = run(tiny_config(), tmp_path, name)
    seen = []

    class Signal(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter + 1 == at:
                os.kill(os.getpid(), signal.SIGTERM)

    first.register_hook(Signal())
    first.register_hook(Watch(lambda _, outputs: seen.append(as_number(outputs['loss']))))
    with pytest.raises(SystemExit) as caught:
        first.train()
    assert caught.value.code == 143
    (saved,) = [read(file)['progress']['iter'] for file in tmp_path.glob('iter_*.pth')]
    assert saved == min(end for end in ENDS if end >= at)
    second = run(tiny_config(), tmp_path, name, resume=True)
    expected, final, _ = whole[name]
    seen = seen[: saved - 1]  # the last hook of the last step was not called
    assert seen + expected[saved - 1 : saved] + losses(second) == expected
    assert_same_end(second, final)


@pytest.mark.parametrize('name', METHODS)
def test_an_epoch_file_continues(tiny_config, tmp_path, whole, name):
    """The last batch of the epoch made no update: its gradient is dropped, centres keep it."""
    expected, final, folder = whole[name]
    file = folder / 'epoch_1.pth'
    content = read(file)
    assert content.keys() == {
        *('format', 'meta', 'state_dict', 'optimizer', 'progress', 'schedulers', 'random'),
        'content_hash',
    }
    sums = [k for k in content['state_dict'] if k.endswith('collected')]
    assert sums == (['head.collected', 'region_head.collected'] if name == 'esvit' else [])
    assert all(content['state_dict'][key].any() for key in sums)
    second = run(tiny_config(), tmp_path, name, resume=True, load_from=str(file))
    assert losses(second) == expected[4:]
    assert_same_end(second, final)


@pytest.mark.parametrize('interval', [1, 2, 4, 5])
def test_saves_within_an_epoch_wait(tiny_config, tmp_path, interval):
    runner = run(tiny_config(), tmp_path, 'mocov3', default_hooks__checkpoint__iterations=interval)
    saved = []
    original = runner.save_checkpoint

    def save(out_dir, name, **options):
        saved.append(name)
        original(out_dir, name, **options)

    runner.save_checkpoint = save
    runner.train()
    written = {
        # each update; the epoch's own file stands for its last batch
        1: ['iter_3', 'epoch_1', 'iter_7', 'epoch_2', 'iter_11', 'epoch_3'],
        2: ['iter_3', 'epoch_1', 'iter_7', 'epoch_2', 'iter_11', 'epoch_3'],
        4: ['epoch_1', 'epoch_2', 'epoch_3'],
        5: ['epoch_1', 'iter_7', 'epoch_2', 'iter_11', 'epoch_3'],
    }[interval]
    assert saved == [f'{name}.pth' for name in written]


def test_what_the_epoch_leaves_changes_no_weights(tiny_config, tmp_path):
    """Weights move at the third batch of each epoch, alone."""
    runner = run(tiny_config(), tmp_path, 'mocov3', param_scheduler=[])  # no warm-up from zero
    moved = []
    before = [p.detach().clone() for p in runner.model.student.parameters()]

    def look(runner, _):
        now = [p.detach().clone() for p in runner.model.student.parameters()]
        if any(not torch.equal(a, b) for a, b in zip(before, now, strict=True)):
            moved.append(runner.iter + 1)
        before[:] = now

    runner.register_hook(Watch(look))
    runner.train()
    assert moved == list(ENDS)


def test_an_update_takes_the_rate_of_its_first_batch(tiny_config, tmp_path, monkeypatch):
    """SGD moves by rate times gradient, and by rate times decay times weight."""
    decay = dict(type='ScheduleParam', param_name='weight_decay', final=0.5)
    rate = dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)
    runner = run(
        tiny_config(),
        tmp_path,
        'mocov3',
        optim_wrapper__optimizer=dict(_delete_=True, type='SGD', lr=0.1, weight_decay=0.1),
        param_scheduler=[rate, decay],
    )
    schedulers = []
    original = OptimWrapper.step

    def step(wrapper):
        weights = [p for p in runner.model.student.parameters() if p.grad is not None]
        given = [(p.detach().clone(), p.grad.clone()) for p in weights]
        original(wrapper)
        first = runner.iter - COUNT + 1
        rate, decay = (scheduler.value(first) for scheduler in runner.param_schedulers)
        schedulers.append((rate, decay))
        for p, (weight, grad) in zip(weights, given, strict=True):
            assert_close(p.detach(), weight - rate * (grad + decay * weight), rtol=1e-5, atol=1e-7)

    monkeypatch.setattr(OptimWrapper, 'step', step)
    runner.train()
    assert len(schedulers) == len(ENDS)
    assert len(set(schedulers)) == len(ENDS)
    logged = [line['lr'] for line in scalars(tmp_path) if 'lr' in line]
    rates = [rate for rate, _ in schedulers]
    assert logged[:3] + logged[4:7] + logged[8:11] == pytest.approx(
        [rate for rate in rates for _ in range(COUNT)]
    )


def test_centres_keep_the_rest_of_an_epoch(tiny_config, tmp_path):
    """As SERE's code: the sum goes on, and the next update divides by its own rows alone."""
    runner = run(tiny_config(), tmp_path, 'esvit')
    head = runner.model.head
    seen, centres = [], []
    observe, end_step = head.observe, head.end_step

    def spy(scores):
        seen.append(scores.detach().flatten(0, -2).sum(0))
        observe(scores)

    def ended():
        end_step()
        centres.append(head.center.clone())

    head.observe, head.end_step = spy, ended
    runner.train()
    views, images = 2, 6
    sums = torch.stack(seen).reshape(12, views, -1).sum(1)
    expected = torch.zeros_like(centres[0][0])
    for end, begin in zip(ENDS, (0, 3, 7), strict=True):
        mean = sums[begin:end].sum(0) / (COUNT * views * images)
        expected = 0.9 * expected + 0.1 * mean
        assert_close(centres[ENDS.index(end)][0], expected, rtol=1e-5, atol=1e-7)


def test_an_epoch_without_an_update_is_refused(tiny_config, tmp_path):
    runner = run(tiny_config(), tmp_path, 'mocov3', optim_wrapper__accumulative_counts=5)
    with refuses('optim_wrapper.accumulative_counts', 5) as caught:
        runner.train()
    assert ' 4 ' in str(caught.value)
