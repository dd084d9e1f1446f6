"""Training files are written atomically, hold plain values, and resume bit-equal."""

import os

import pytest
import torch
from mmengine.logging import MMLogger
from torch.testing import assert_close

from mmssl.checkpoint import read
from mmssl.checkpoint.file_format import FORMAT
from mmssl.core import dist
from mmssl.core.io import to_plain
from mmssl.engine.state import training_state, work_dir_files

from ..helpers.refusals import refuses
from ..helpers.tiny import Watch, log, losses, make_runner
from ..helpers.training_state import Stop, everything, interrupt, smallest_file

pytestmark = pytest.mark.slow

# random depth and workers: whatever could be forgotten on resuming
RANDOM = dict(
    model__backbone__drop_path_rate=0.3,
    train_dataloader__num_workers=2,
    train_dataloader__persistent_workers=True,
    optim_wrapper__paramwise_cfg=dict(rules=[dict(ndim=1, decay_mult=0.0)]),
)


@pytest.fixture(scope='module')
def uninterrupted(tiny_config, tmp_path_factory):
    runner = make_runner(tiny_config(), tmp_path_factory.mktemp('whole'), **RANDOM)
    return losses(runner), everything(runner)


@pytest.mark.parametrize('iteration', [1, 6, 8])
def test_resuming_is_bit_exact(tiny_config, tmp_path, uninterrupted, iteration):
    """After the first iteration, in the middle of an epoch, and at the end of one."""
    first = make_runner(tiny_config(), tmp_path, **RANDOM)
    seen = interrupt(first, iteration)
    second = make_runner(
        tiny_config(), tmp_path, **RANDOM, resume=True, load_from=str(tmp_path / 'cut.pth')
    )
    torch.rand(7)  # the generators of a new process stand elsewhere
    rest = losses(second)
    expected, final = uninterrupted
    assert len(expected) == 12
    assert seen + rest == expected
    ours = everything(second)
    assert list(ours) == list(final)
    assert len(ours) > 150
    for name, value in final.items():
        assert torch.equal(ours[name], value), name


def test_resuming_after_an_epoch_continues_by_itself(tiny_config, tmp_path, uninterrupted):
    first = make_runner(tiny_config(), tmp_path, **RANDOM)
    with pytest.raises(Stop):
        interrupted = Watch(lambda runner, _: runner.iter == 9 and (_ for _ in ()).throw(Stop))
        first.register_hook(interrupted)
        first.train()
    # the newest file is damaged: the one before it is taken, and that is said
    os.utime(tmp_path / 'epoch_1.pth', (1, 1))
    whole = (tmp_path / 'epoch_2.pth').read_bytes()
    (tmp_path / 'epoch_9.pth').write_bytes(whole[: len(whole) // 2])
    second = make_runner(tiny_config(), tmp_path, **RANDOM, resume=True)
    rest = losses(second)
    assert rest == uninterrupted[0][8:]
    text = log(tmp_path)
    assert f'passed over while resuming: {tmp_path}/epoch_9.pth: not a readable checkpoint' in text
    assert f'resumed {tmp_path}/epoch_2.pth at epoch 2, iteration 8' in text


def test_resuming_where_nothing_is_starts_anew(tiny_config, tmp_path):
    runner = make_runner(tiny_config(), tmp_path, resume=True, train_cfg__max_epochs=1)
    assert len(losses(runner)) == 4
    assert f'nothing to resume in {tmp_path}: starting anew' in log(tmp_path)


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A run of one epoch and its file."""
    work_dir = tmp_path_factory.mktemp('trained')
    runner = make_runner(tiny_config(), work_dir, train_cfg__max_epochs=1)
    runner.train()
    return runner, work_dir / 'epoch_1.pth'


def test_a_file_holds_tensors_and_plain_data_only(trained):
    runner, path = trained
    content = torch.load(path, weights_only=True)
    assert set(content) == {
        *('format', 'meta', 'state_dict', 'optimizer', 'progress', 'random'),
        'content_hash',
        'schedulers',
    }
    assert content['progress'] == dict(
        iter=4, per_epoch=4, batch=6, batch_size=6, processes=1, best=None
    )
    assert content['meta']['model'] == 'MoCoV3'
    assert content['meta']['settings']['model']['type'] == 'MoCoV3'
    assert content['meta']['seed'] == 0
    assert list(content['state_dict']) == list(runner.model.state_dict())
    for name, value in runner.model.state_dict().items():
        assert torch.equal(content['state_dict'][name], value), name
    ours = runner.optim_wrapper.optimizer.state_dict()
    for i, entries in ours['state'].items():
        for key, value in entries.items():
            assert_close(content['optimizer']['optimizer']['state'][i][key], value, rtol=0, atol=0)


@pytest.mark.parametrize('damage', ['missing', 'foreign', 'truncated', 'zeros', 'list'])
def test_what_cannot_be_resumed_is_said_in_one_line(tiny_config, tmp_path, trained, damage):
    path = tmp_path / f'{damage}.pth'
    if damage == 'foreign':
        torch.save({'state_dict': read(trained[1])['state_dict']}, path)
    elif damage == 'truncated':
        whole = trained[1].read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == 'zeros':
        path.write_bytes(bytes(100))
    elif damage == 'list':
        torch.save([torch.ones(1)], path)
    runner = make_runner(tiny_config(), tmp_path, resume=True, load_from=str(path))
    with refuses('file', str(path)):
        runner.train()


def test_other_data_is_refused(tiny_config, tmp_path, trained):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        resume=True,
        load_from=str(trained[1]),
        train_dataloader__dataset__per_class=6,
    )
    with refuses('iterations per epoch', 3) as caught:
        runner.train()
    assert 'written with 4' in str(caught.value)


def test_another_batch_is_refused(tiny_config, tmp_path, trained):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        resume=True,
        load_from=str(trained[1]),
        train_dataloader__batch_size=8,
    )
    with refuses('batch', 8) as caught:
        runner.train()
    assert 'written with 6' in str(caught.value)


# writing ------------------------------------------------------------------------------------------
@pytest.mark.parametrize('when', ['writing', 'syncing', 'renaming'])
def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, when):
    path = tmp_path / 'folder' / 'a.pth'
    work_dir_files.write({'a': torch.ones(2)}, path)
    before = path.read_bytes()

    def fail(*args, **_):
        if when == 'writing':
            args[1].write(b'half of it')
        raise OSError(28, 'No space left on device')

    owner, name = {
        'writing': (torch, 'save'),
        'syncing': (os, 'fsync'),
        'renaming': (os, 'replace'),
    }[when]
    monkeypatch.setattr(owner, name, fail)
    with refuses('file', str(path)) as caught:
        work_dir_files.write({'a': torch.zeros(2)}, path)
    monkeypatch.undo()
    assert 'No space left on device' in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ['a.pth']
    work_dir_files.write({'a': torch.zeros(2)}, path)
    assert torch.equal(read(path)['a'], torch.zeros(2))
    assert os.listdir(path.parent) == ['a.pth']


def test_a_failing_first_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'fsync', lambda _: (_ for _ in ()).throw(OSError(5, 'I/O error')))
    with refuses('file', str(tmp_path / 'a.pth')):
        work_dir_files.write({'a': 1}, tmp_path / 'a.pth')
    assert os.listdir(tmp_path) == []


def test_the_furthest_whole_file_of_the_run_started_last(tmp_path):
    """Whatever the times of the files are: copying and touching change them."""
    logger = MMLogger('newest')
    assert work_dir_files.newest(tmp_path, logger) is None
    contents = {
        'epoch_9': smallest_file(1.0, 900),  # of an earlier run
        'epoch_1': smallest_file(2.0, 100),
        'epoch_2': smallest_file(2.0, 200),
        'iter_150': smallest_file(2.0, 150),
        'other': {'other': torch.ones(1)},
    }
    for age, (name, content) in enumerate(contents.items()):
        work_dir_files.write(content, tmp_path / f'{name}.pth')
        os.utime(tmp_path / f'{name}.pth', (100 - age, 100 - age))
    order = ['epoch_2', 'iter_150', 'epoch_1', 'epoch_9']
    for name in order:
        assert work_dir_files.newest(tmp_path, logger) == tmp_path / f'{name}.pth'
        raw = bytearray((tmp_path / f'{name}.pth').read_bytes())
        at = raw.index(b'run ')  # still readable, but not what was written
        raw[at : at + 4] = b'ruN '
        (tmp_path / f'{name}.pth').write_bytes(raw)
    assert work_dir_files.newest(tmp_path, logger) is None


def test_a_training_file_without_a_run_is_none(tmp_path):
    work_dir_files.write(dict(format=FORMAT, progress=dict(iter=1)), tmp_path / 'a.pth')
    with refuses('meta'):
        work_dir_files.run_of(tmp_path / 'a.pth')
    assert work_dir_files.newest(tmp_path, MMLogger('none')) is None


def test_resuming_keeps_the_run_and_says_what_differs(tiny_config, tmp_path, trained):
    """Settings of now act; the optimizer's numbers too, which torch would take from the file."""
    runner = make_runner(
        tiny_config(),
        tmp_path,
        resume=True,
        load_from=str(trained[1]),
        optim_wrapper__optimizer__weight_decay=0.3,
        optim_wrapper__optimizer__betas=(0.8, 0.95),
    )
    runner.train()
    group = runner.optim_wrapper.optimizer.param_groups[0]
    assert (group['weight_decay'], group['betas']) == (0.3, (0.8, 0.95))
    assert runner.run_identity == read(trained[1])['meta']['run']
    told = [line for line in log(tmp_path).splitlines() if 'resuming with' in line]
    assert len(told) == 4, told
    assert sum('train_cfg.max_epochs=3; the file was written with 1' in t for t in told) == 1
    for key, now, then in (
        ('weight_decay', '0.3', '0.05'), ('betas.0', '0.8', 'nothing'), ('betas.1', '0.95', 'noth')
    ):  # fmt: skip
        (line,) = (t for t in told if f'optimizer.{key}=' in t)
        assert f'={now};' in line and f'written with {then}' in line


def test_another_optimizer_is_refused(tiny_config, tmp_path, trained):
    runner = make_runner(
        tiny_config(),
        tmp_path,
        resume=True,
        load_from=str(trained[1]),
        optim_wrapper__optimizer=dict(type='SGD', lr=0.1, _delete_=True),
    )
    with refuses('optim_wrapper.optimizer.type', 'SGD') as caught:
        runner.train()
    assert 'AdamW' in str(caught.value)


def test_another_method_is_refused(tiny_config, tmp_path, trained):
    neck = dict(type='MLP', dims=(16, 8), _delete_=True)
    head = dict(type='ContrastiveHead', temperature=0.2, _delete_=True)
    runner = make_runner(
        tiny_config(), tmp_path, resume=True, load_from=str(trained[1]),
        model__type='MoCo', model__queue_length=12, model__neck=neck, model__head=head,
    )  # fmt: skip
    with refuses('model.type', 'MoCo') as caught:
        runner.train()
    assert 'MoCoV3' in str(caught.value)


def test_a_finished_run_says_so(tiny_config, tmp_path, trained):
    runner = make_runner(
        tiny_config(), tmp_path, resume=True, load_from=str(trained[1]), train_cfg__max_epochs=1
    )
    runner.train()
    assert 'all 1 epochs are trained' in log(tmp_path)


def test_files_name_the_classes(trained):
    assert read(trained[1])['meta']['classes'] == ['blue', 'green', 'red']


def test_settings_become_plain():
    class Odd:
        def __str__(self):
            return 'odd'

    import numpy as np

    value = {'a': (1, Odd()), 2: None, Odd(): np.float32(0.5), 'd': {'e': [True, 'x']}}
    assert to_plain(value) == {
        'a': [1, 'odd'], 2: None, 'odd': 0.5, 'd': {'e': [True, 'x']}
    }  # fmt: skip
    assert type(to_plain(np.int64(3))) is int


def _generators():
    torch.manual_seed(10 + dist.rank())
    states = training_state._random_states()
    expected = torch.rand(3)
    torch.manual_seed(0)
    training_state._set_random_states(states, seed=0)
    return len(states['torch']), torch.equal(torch.rand(3), expected)


def test_generators_are_saved_where_the_group_serves_gpus_only(two_gpu_ranks):
    """Their states are host values: over an NCCL group every save on two GPUs would fail."""
    assert two_gpu_ranks(_generators) == [(2, True)] * 2
