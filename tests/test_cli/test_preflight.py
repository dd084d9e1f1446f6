"""What does not fit in a short trial is told at once, before anything is built."""

import pytest

from mmssl.cli import train
from mmssl.core.errors import UserErrors
from mmssl.engine import Runner

from ..helpers.command import call
from ..helpers.hub import write_classifier
from ..helpers.images import make_image
from ..helpers.refusals import refuses
from ..helpers.tiny import write_config

WRONG = {
    'param_scheduler.0.warmup': 9,
    'model.momentum.warmup': 7,
    'train_dataloader.batch_size': 25,
}


SMALL = {'train_cfg.max_epochs': 1, 'pretrained': 'random'}


def words(*options):
    return ['--cfg-options', *(f'{k}={v}' for part in options for k, v in part.items())]


@pytest.fixture
def nothing_built(monkeypatch):
    """Fail where a runner is built."""
    monkeypatch.setattr(Runner, 'from_cfg', lambda *_: pytest.fail('a runner was built'))


def test_all_at_once(tiny_config, tmp_path, nothing_built):
    with pytest.raises(UserErrors) as caught:
        train.main([str(tiny_config()), '--work-dir', str(tmp_path), *words(WRONG)])
    assert {error.key: error.value for error in caught.value.errors} == WRONG
    for key, right in zip(WRONG, (3, 3, 24), strict=True):
        assert f'--cfg-options {key}={right}' in str(caught.value)


def test_the_command_prints_a_line_each(tiny_config, tmp_path, capsys):
    done = call(capsys, tiny_config(), '--work-dir', tmp_path, *words(WRONG))
    assert (done.code, done.out) == (2, '')
    lines = done.err.splitlines()
    assert len(lines) == 3 and all(line.startswith('error: ') for line in lines)


def test_what_it_advises_is_right(tiny_config, tmp_path, capsys):
    fits = dict(zip(WRONG, (3, 3, 24), strict=True))
    done = call(capsys, tiny_config(), '--work-dir', tmp_path, *words(fits))
    assert done.code == 0, done.err
    assert done.out.count('MoCoV3 on 24 images') == 1, 'what is looked up is not said twice'


def test_classes_of_a_probe(image_folder, tmp_path, nothing_built):
    config = write_classifier(tmp_path, image_folder, 5)
    wrong = {'param_scheduler.0.warmup': 2}
    with pytest.raises(UserErrors) as caught:
        train.main([str(config), '--work-dir', str(tmp_path), *words(SMALL, wrong)])
    found = {error.key: error.value for error in caught.value.errors}
    assert found == {**wrong, 'model.head.num_classes': 5}


def test_a_validation_set_of_other_classes(image_folder, tmp_path, nothing_built):
    for name in ('blue', 'green', 'red'):
        for folder in (tmp_path / 'train' / name, tmp_path / 'val' / f'{name}ish'):
            folder.mkdir(parents=True)
            make_image().save(folder / '0.png')
    config = write_classifier(tmp_path, tmp_path)
    with refuses('val_dataloader', ('blue', 'green', 'red')):
        train.main([str(config), *words(SMALL, {'train_dataloader.batch_size': 3})])


def test_data_that_is_not_there_is_among_them(tmp_path, nothing_built):
    config = write_config(tmp_path, tmp_path / 'gone')
    with pytest.raises(UserErrors) as caught:
        train.main([str(config), *words({'model.momentum.warmup': 7})])
    assert [error.key for error in caught.value.errors] == ['model.momentum.warmup', 'folder']


@pytest.mark.parametrize(
    ('launcher', 'count'), [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS')]
)
def test_the_batch_of_all_processes(tiny_config, monkeypatch, nothing_built, launcher, count):
    monkeypatch.setenv(count, '4')
    option = words({'train_dataloader.batch_size': 7})
    with refuses('train_dataloader.batch_size', 7) as caught:
        train.main([str(tiny_config()), '--launcher', launcher, *option])
    assert 'batch_size=6' in str(caught.value)


def test_a_queue_that_is_too_short(tmp_path, image_folder, nothing_built):
    path = tmp_path / 'moco.py'
    head = "head=dict(_delete_=True, type='ContrastiveHead', temperature=0.2)"
    base = write_config(tmp_path, image_folder, 'resnet')
    path.write_text(f"_base_ = '{base}'\nmodel = dict(type='MoCo', queue_length=4, {head})\n")
    wrong = {'train_dataloader.batch_size': 25, 'param_scheduler.0.warmup': 9}
    with pytest.raises(UserErrors) as caught:
        train.main([str(path), *words(wrong)])
    assert {error.key: error.value for error in caught.value.errors} == {
        **wrong,
        'model.queue_length': 4,
    }
