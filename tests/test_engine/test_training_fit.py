"""Training files that do not fit: refused by entry and value, with the run left as it was."""

import copy
import math
from typing import Any

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.core import UserError
from mmssl.core.errors import UserErrors
from mmssl.engine.state import work_dir_files
from mmssl.engine.state.training_fit import state_of_one_step
from mmssl.engine.state.training_schema import GROUP, SCALER, SCHEMA, check_schema

from ..helpers.refusals import check_refusal, refuses
from ..helpers.tiny import Watch, make_runner
from ..helpers.training_state import everything, smallest_file

MISSING = object()
# a parameter of the tiny run with optimizer state, a matrix; its position is looked up
WEIGHT = 'student.backbone.net.blocks.0.attn.qkv.weight'


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A run of one epoch, and the content of its file."""
    work_dir = tmp_path_factory.mktemp('trained')
    settings: dict[str, Any] = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    runner = make_runner(tiny_config(), work_dir, train_cfg__max_epochs=1, **settings)
    runner.train()
    names = [
        next(n for n, other in runner.model.named_parameters() if other is p)
        for group in runner.optim_wrapper.optimizer.param_groups
        for p in group['params']
    ]
    return runner, read(work_dir / 'epoch_1.pth'), names.index(WEIGHT)


def changed(content: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy of a file's content with another value in one place."""
    content = copy.deepcopy(content)
    *folders, last = path
    entry: Any = content
    for key in folders:
        entry = entry[key]
    if value is MISSING:
        del entry[last]
    else:
        entry[last] = value
    return content


def refused(trained: Any, content: dict[str, Any], folder: Any) -> UserError:
    """Resume a whole file with this content; return the error, and check that nothing changed."""
    runner, _, _ = trained
    path = folder / 'changed.pth'
    work_dir_files.write(content, path)  # with its hash
    before = copy.deepcopy(
        [everything(runner), runner.run_identity, runner.optim_wrapper.get_lr(), runner.iter]
    )
    generators = torch.get_rng_state()
    with pytest.raises(UserError) as caught:
        runner.resume(str(path))
    assert torch.equal(torch.get_rng_state(), generators)
    tensors, *rest = before
    assert rest == [runner.run_identity, runner.optim_wrapper.get_lr(), runner.iter]
    for name, value in everything(runner).items():
        assert torch.equal(value, tensors[name]), name
    return caught.value


def test_the_file_itself_is_resumed(trained, tmp_path):
    runner, content, _ = trained
    before = everything(runner)
    work_dir_files.write(copy.deepcopy(content), tmp_path / 'a.pth')
    runner.resume(str(tmp_path / 'a.pth'))
    after = everything(runner)
    assert len(after) > 50
    assert all(torch.equal(after[name], value) for name, value in before.items())


# kinds and ranges ---------------------------------------------------------------------------------
NAN = math.nan
KINDS: list[tuple[str, Any]] = [
    ('progress', MISSING), ('progress', [1]), ('progress.iter', -7), ('progress.iter', NAN),
    ('progress.iter', True), ('progress.iter', 4.0), ('progress.iter', 10**400),
    ('progress.batch', '6'), ('progress.batch', MISSING), ('progress.processes', 0),
    ('progress.per_epoch', None), ('progress.batch_size', 0), ('progress.best', 'high'),
    ('meta', 3), ('meta.run', MISSING), ('meta.run.id', 7), ('meta.run.started', NAN),
    ('meta.settings', [1, 2]), ('state_dict', [torch.ones(1)]), ('state_dict.x', 'text'),
    ('optimizer', None), ('optimizer.optimizer.state', {'0': {}}),
    ('optimizer.optimizer.param_groups', [[]]), ('optimizer.scaler', dict(scale=0.0)),
    ('schedulers', {'last_step': 3}), ('random', MISSING), ('random.torch', torch.ones(1, 9)),
    ('random.numpy', torch.zeros(1, 3, dtype=torch.int64)),
    ('random.numpy', torch.full((1, 624), -1)),
    ('random.numpy_rest', [10**6, 0, 0.0]), ('random.python', torch.full((1, 625), 2**40)),
    ('ema_state_dict', 3),
]  # fmt: skip


@pytest.mark.parametrize(
    ('key', 'value'), KINDS, ids=[f'{key}-{i}' for i, (key, _) in enumerate(KINDS)]
)
def test_entries_of_another_kind(key, value):
    content = changed(smallest_file(), tuple(key.split('.')), value)
    with pytest.raises(UserError) as caught:
        check_schema(content, 'a.pth')
    errors = getattr(caught.value, 'errors', (caught.value,))
    wrong = None if value is MISSING else value
    if key == 'state_dict.x':
        key, wrong = 'state_dict', content['state_dict']
    elif key == 'optimizer.scaler':  # the one that is wrong, and those that are missing
        assert [e.key for e in errors] == [f'{key}.{name}' for name in SCALER]
        key, wrong = 'optimizer.scaler.scale', 0.0
        errors = errors[:1]
    assert [e.key for e in errors] == [key]
    assert errors[0].value is wrong or errors[0].value == wrong
    assert len(str(errors[0])) < 300


def test_the_smallest_file_is_of_the_schema():
    check_schema(smallest_file(), 'a.pth')


@pytest.mark.parametrize('lr', ['0.1', None, -1.0, NAN, 1j])
def test_rates_are_numbers(lr):
    content = smallest_file()
    content['optimizer']['optimizer']['param_groups'] = [dict(params=[0], lr=lr)]
    with refuses('optimizer.optimizer.param_groups.0.lr', lr):
        check_schema(content, 'a.pth')


def test_all_wrong_entries_are_told_at_once():
    """An empty file of the format lacks each entry that is not inside another one."""
    with pytest.raises(UserErrors) as caught:
        check_schema({}, 'a.pth')
    assert [e.key for e in caught.value.errors] == [key for key in SCHEMA if '.' not in key]
    content = smallest_file()
    content['progress'] |= dict(iter=-1, batch='x')
    content['optimizer']['optimizer']['param_groups'] = [dict(betas=None)]
    with pytest.raises(UserErrors) as caught:
        check_schema(content, 'a.pth')
    groups = [f'optimizer.optimizer.param_groups.0.{name}' for name in GROUP]
    assert [e.key for e in caught.value.errors] == ['progress.iter', 'progress.batch', *groups]
    assert caught.value.value == [-1, 'x', None, None]


# what does not fit the run ------------------------------------------------------------------------
ENTRIES: dict[str, tuple[str, Any, Any]] = {
    # name: (entry, its value, the value that the error has)
    'one element': ('exp_avg', torch.zeros(1), (1,)),
    'a scalar': ('exp_avg_sq', torch.zeros(()), ()),
    'other dimensions': ('exp_avg_sq', torch.zeros(3, 5, 7), (3, 5, 7)),
    'transposed': ('exp_avg', torch.zeros(16, 48), (16, 48)),
    'another type': ('exp_avg', torch.zeros(48, 16, dtype=torch.float64), (48, 16)),
    'whole numbers': ('exp_avg', torch.zeros(48, 16, dtype=torch.int32), (48, 16)),
    'complex numbers': ('exp_avg', torch.zeros(48, 16, dtype=torch.complex64), (48, 16)),
    'infinite numbers': ('exp_avg', torch.full((48, 16), math.inf), (48, 16)),
    'a text': ('exp_avg', 'zeros', 'zeros'),
    'missing': ('exp_avg_sq', MISSING, None),
    'a count below zero': ('step', torch.tensor(-1.0), -1.0),
    'a count of many': ('step', torch.ones(48, 16), (48, 16)),
    'another entry': ('anything', torch.zeros(2), (2,)),
}


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('name', ENTRIES)
def test_optimizer_tensors_that_do_not_fit(trained, tmp_path, name, fused):
    """Torch's kernels would read beyond a smaller tensor: the process died."""
    runner, content, at = trained
    entry, value, told = ENTRIES[name]
    stored = changed(content, ('optimizer', 'optimizer', 'state', at, entry), value)
    groups = runner.optim_wrapper.optimizer.param_groups
    own = groups[0]['fused']
    for group in groups:
        group['fused'] = fused
    error = refused(trained, stored, tmp_path)
    for group in groups:
        group['fused'] = own
    check_refusal(error, f'optimizer.state.{at}.{entry}', told)
    assert WEIGHT in str(error) or name == 'missing'


def test_further_differences_are_counted(trained, tmp_path):
    _, content, _ = trained
    stored = copy.deepcopy(content)
    states = stored['optimizer']['optimizer']['state']
    for entries in states.values():
        entries['exp_avg'] = torch.zeros(2, 2, 2)
    error = refused(trained, stored, tmp_path)
    check_refusal(error, f'optimizer.state.{min(states)}.exp_avg', (2, 2, 2))
    assert f'and {len(states) - 1} entries more' in str(error)


TENSORS: dict[str, tuple[Any, Any]] = {
    'whole numbers': (lambda v: v.int(), (48, 16)),
    'complex': (lambda v: v.to(torch.complex64), (48, 16)),
    'another precision': (lambda v: v.double(), (48, 16)),
    'not a number': (lambda v: v * math.nan, (48, 16)),
    'another shape': (lambda v: v[:3], (3, 16)),
}


@pytest.mark.parametrize('name', TENSORS)
def test_weights_that_do_not_fit(trained, tmp_path, name):
    _, content, _ = trained
    change, told = TENSORS[name]
    stored = changed(content, ('state_dict', WEIGHT), change(content['state_dict'][WEIGHT]))
    check_refusal(refused(trained, stored, tmp_path), f'state_dict.{WEIGHT}', told)


def test_weights_that_are_missing_or_left(trained, tmp_path):
    _, content, _ = trained
    stored = changed(content, ('state_dict', WEIGHT), MISSING)
    check_refusal(refused(trained, stored, tmp_path), f'state_dict.{WEIGHT}', None)
    stored = changed(content, ('state_dict', 'student.more'), torch.ones(5))
    check_refusal(refused(trained, stored, tmp_path), 'state_dict.student.more', (5,))


def test_averages_of_another_shape(trained, tmp_path):
    _, content, _ = trained
    averages = {f'module.{k}': v for k, v in content['state_dict'].items()}
    averages[f'module.{WEIGHT}'] = torch.ones(2)
    stored = changed(content, ('ema_state_dict',), averages)
    check_refusal(refused(trained, stored, tmp_path), f'ema_state_dict.{WEIGHT}', (2,))


PLACES: dict[str, tuple[tuple[Any, ...], Any, str, Any]] = {
    # name: (place, value, key and value of the error)
    'iterations after the end': (('progress', 'iter'), 10**12, 'progress.iter', 10**12),
    'one parameter less': (('optimizer', 'optimizer', 'param_groups', 0, 'params'), [0, 1],
                           'optimizer.param_groups', [2]),
    'no groups': (('optimizer', 'optimizer', 'param_groups'), [], 'optimizer.param_groups', []),
    'state of no parameter': (('optimizer', 'optimizer', 'state', 10**6), {},
                              f'optimizer.state.{10**6}', 10**6),
    'schedulers': (('schedulers',), [], 'schedulers', 0),
    'generators of others': (('progress', 'processes'), 2, 'random.torch', 1),
    'torch generator': (('random', 'torch'), torch.zeros(1, 7, dtype=torch.uint8),
                        'random.torch', 0),
    'python generator': (('random', 'python'), torch.full((1, 625), 2**31), 'random.python', 0),
}  # fmt: skip


@pytest.mark.parametrize('name', PLACES)
def test_other_entries_that_do_not_fit(trained, tmp_path, name):
    _, content, _ = trained
    place, value, key, told = PLACES[name]
    check_refusal(refused(trained, changed(content, place, value), tmp_path), key, told)


def test_settings_of_the_file_do_not_act(trained, tmp_path):
    """Of the groups the rates are the file's; ``maximize`` would climb the loss."""
    runner, content, _ = trained
    stored = copy.deepcopy(content)
    for group in stored['optimizer']['optimizer']['param_groups']:
        group.update(maximize=True, betas=None, foreach='yes', more=[1], lr=0.125)
    work_dir_files.write(stored, tmp_path / 'a.pth')
    group = runner.optim_wrapper.optimizer.param_groups[0]
    own = {key: value for key, value in group.items() if key not in ('params', 'lr')}
    runner.optim_wrapper.load_state_dict(stored['optimizer'])
    (after, *_) = runner.optim_wrapper.optimizer.param_groups
    assert after['lr'] == 0.125
    assert {k: v for k, v in after.items() if k not in ('params', 'lr')} == own
    assert own['maximize'] is False


# what an optimizer keeps --------------------------------------------------------------------------
OPTIMIZERS = {
    'AdamW': (dict(amsgrad=True), {'step', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq'}),
    'SGD': (dict(momentum=0.9), {'momentum_buffer'}),
    'Adafactor': ({}, {'step', 'row_var', 'col_var'}),
}


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_what_an_optimizer_keeps_is_seen_from_a_step(name):
    settings, keys = OPTIMIZERS[name]
    weight = torch.nn.Parameter(torch.ones(4, 6))
    optimizer = getattr(torch.optim, name)([weight], lr=0.1, **settings)
    found = state_of_one_step(optimizer, optimizer.param_groups[0], weight)
    weight.grad = torch.ones(4, 6)
    assert not optimizer.state
    assert torch.equal(weight, torch.ones(4, 6))
    optimizer.step()
    assert set(found) == keys
    shapes = {key: torch.as_tensor(value).shape for key, value in optimizer.state[weight].items()}
    assert {key: torch.as_tensor(value).shape for key, value in found.items()} == shapes


def test_an_optimizer_that_needs_a_closure_is_left_alone():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([weight])
    assert state_of_one_step(optimizer, optimizer.param_groups[0], weight) is None


# the newest file ----------------------------------------------------------------------------------
def test_a_file_of_another_kind_is_passed_over(tiny_config, tmp_path, trained):
    """The one before it is resumed, as after damage."""
    _, content, _ = trained
    work_dir_files.write(copy.deepcopy(content), tmp_path / 'epoch_1.pth')
    later = changed(content, ('progress', 'iter'), 3.0)
    work_dir_files.write(later, tmp_path / 'epoch_9.pth')
    broken = changed(content, ('meta', 'settings'), None) | dict(progress=[1])
    work_dir_files.write(broken, tmp_path / 'epoch_old.pth')
    settings: dict[str, Any] = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    settings |= dict(default_hooks__checkpoint__max_keep_ckpts=1)
    runner = make_runner(tiny_config(), tmp_path, train_cfg__max_epochs=2, resume=True, **settings)
    seen: list[int] = []
    runner.register_hook(Watch(lambda r, _: seen.append(r.iter)))
    runner.train()
    assert seen == [4, 5, 6, 7]
    kept = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert kept == ['epoch_2.pth', 'epoch_9.pth', 'epoch_old.pth']
