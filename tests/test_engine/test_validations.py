"""A validation that a killed run did not end is run on resuming, and one that ended is not."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmssl.checkpoint import read
from mmssl.engine.state import validations

from ..helpers.tiny import losses, make_runner, scalars
from ..helpers.training_state import Stop

SETTINGS = dict(
    train_cfg__max_epochs=2,
    default_hooks__checkpoint__save_best='knn/top1',
    model__backbone__drop_path_rate=0.3,
)
EPOCH = 4  # iterations


class Cut(Hook):
    """Stop before, or after, the validation of an epoch has been noted."""

    priority = 'LOWEST'

    def __init__(self, moment: str, epoch: int = 1) -> None:
        self.moment = moment
        self.epoch = epoch

    def before_val_epoch(self, runner) -> None:
        if self.moment == 'before' and runner.epoch == self.epoch:
            raise Stop

    def after_val_epoch(self, runner, metrics=None) -> None:
        if self.moment == 'measured' and runner.epoch == self.epoch:
            raise Stop  # figures are logged, the best file is written

    def before_train_epoch(self, runner) -> None:
        if self.moment == 'noted' and runner.epoch == self.epoch:
            raise Stop


def figures(folder: Path) -> dict[int, list[float]]:
    """Return what was measured after each epoch, by all starts of a run."""
    found: dict[int, list[float]] = {}
    for line in scalars(folder):
        if 'knn/top1' in line:
            found.setdefault(line['step'], []).append(line['knn/top1'])
    return found


def state(file: Path) -> dict:
    content = read(file)
    return content['state_dict'] | dict(best=torch.tensor(content['progress']['best'] or -1.0))


def check_equal(first: Path, second: Path) -> None:
    expected, found = state(first), state(second)
    assert list(expected) == list(found)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(('moment', 'times'), [('before', 1), ('measured', 2), ('noted', 1)])
def test_a_validation_is_run_if_it_was_not_noted(tiny_config, tmp_path, moment, times):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    losses(make_runner(tiny_config(), whole, **SETTINGS))
    runner = make_runner(tiny_config(), cut, **SETTINGS)
    runner.register_hook(Cut(moment))
    with pytest.raises(Stop):
        runner.train()
    resumed = make_runner(tiny_config(), cut, **SETTINGS, resume=True)
    losses(resumed)
    expected, found = figures(whole), figures(cut)
    assert sorted(expected) == [1, 2] and all(len(values) == 1 for values in expected.values())
    assert found == {1: expected[1] * times, 2: expected[2]}
    for name in ('epoch_2.pth', 'best.pth'):
        check_equal(whole / name, cut / name)


def test_the_last_validation_is_run_when_nothing_else_is_left(tiny_config, tmp_path):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    losses(make_runner(tiny_config(), whole, **SETTINGS))
    runner = make_runner(tiny_config(), cut, **SETTINGS)
    runner.register_hook(Cut('before', epoch=2))
    with pytest.raises(Stop):
        runner.train()
    for _ in range(2):  # the second time it is known
        assert losses(make_runner(tiny_config(), cut, **SETTINGS, resume=True)) == []
    assert figures(cut) == figures(whole)
    check_equal(whole / 'best.pth', cut / 'best.pth')


def test_the_best_of_before_is_known_after_resuming(tiny_config, tmp_path):
    """An epoch's file is older than its validation: without the note a worse file would win."""
    runner = make_runner(tiny_config(), tmp_path, **SETTINGS)
    runner.register_hook(Cut('noted'))
    with pytest.raises(Stop):
        runner.train()
    best = figures(tmp_path)[1][0]
    assert read(tmp_path / 'epoch_1.pth')['progress']['best'] is None
    resumed = make_runner(tiny_config(), tmp_path, **SETTINGS, resume=True)
    seen = []

    class Look(Hook):
        def before_train_epoch(self, runner) -> None:
            seen.append(runner.train_loop.best)

    resumed.register_hook(Look())
    losses(resumed)
    assert seen == [best]


# the side file ------------------------------------------------------------------------------------
def test_notes_are_of_one_run(tmp_path):
    validations.note(tmp_path, 'a', 4, 50.0)
    validations.note(tmp_path, 'a', 8, None)
    assert validations.find(tmp_path, 'a', 4) == validations.Ended(50.0)
    assert validations.find(tmp_path, 'a', 8) == validations.Ended(None)
    assert validations.find(tmp_path, 'a', 12) is None
    assert validations.find(tmp_path, 'b', 4) is None
    validations.note(tmp_path, 'b', 4, 1.0)
    assert validations.find(tmp_path, 'a', 4) is None


@pytest.mark.parametrize(
    'text',
    [
        *('', '{', '[]', '7', '{"run": "a"}', '{"run": "a", "ended": [4]}', '[' * 100_000),
        *(f'{{"run": "a", "ended": {{"4": {v}}}}}' for v in ('"x"', '[]', 'NaN', '1e999', 'true')),
    ],
)
def test_a_damaged_file_means_that_nothing_is_known(tmp_path, text):
    (tmp_path / validations.FILE).write_text(text)
    assert validations.find(tmp_path, 'a', 4) is None
    validations.note(tmp_path, 'a', 8, 2.0)
    assert validations.find(tmp_path, 'a', 8) == validations.Ended(2.0)
    assert json.loads((tmp_path / validations.FILE).read_text())['run'] == 'a'
