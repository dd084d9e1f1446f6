"""tools/train.py from the command line."""

import shutil

import pytest
import torch

from mmssl.checkpoint import read

from ..helpers.command import call, refused, start
from ..helpers.tiny import PER_EPOCH, log, scalars


def last(work_dir, epoch=3):
    return read(work_dir / f'epoch_{epoch}.pth')


def test_a_run_and_its_continuation(tiny_config, tmp_path):
    """As a user does: train, lose the last epochs, resume; the same end as at once."""
    done = start(tiny_config(), cwd=tmp_path)
    assert (done.code, done.err) == (0, '')
    work_dir = tmp_path / 'work_dirs' / 'tiny_vit'  # named after the config
    whole = last(work_dir)
    assert whole['progress']['iter'] == 3 * PER_EPOCH
    for epoch in (2, 3):
        (work_dir / f'epoch_{epoch}.pth').unlink()
    done = start(tiny_config(), '--resume', cwd=tmp_path)
    assert (done.code, done.err) == (0, '')
    assert 'epoch_1.pth at epoch 1, iteration 4' in done.out
    again = last(work_dir)
    for name, value in whole['state_dict'].items():
        assert torch.equal(again['state_dict'][name], value), name
    accuracy = [line['knn/top1'] for line in scalars(work_dir) if 'knn/top1' in line]
    assert len(accuracy) == 3 + 2
    assert accuracy[1:3] == accuracy[3:]


def test_resume_takes_the_named_file(tiny_config, tmp_path, capsys):
    first = tmp_path / 'first'
    done = call(capsys, tiny_config(), '--work-dir', first, '--no-validate')
    assert done.code == 0
    assert 'knn' not in log(first).split('epoch 1/3')[1]
    second = tmp_path / 'second'
    words = (tiny_config(), '--work-dir', second, '--resume', first / 'epoch_2.pth')
    assert call(capsys, *words).code == 0
    assert 'epoch_2.pth at epoch 2, iteration 8' in log(second)
    for name, value in last(first)['state_dict'].items():
        assert torch.equal(last(second)['state_dict'][name], value), name


def test_a_folder_of_another_run_needs_a_word(tiny_config, tmp_path, capsys):
    words = (tiny_config(), '--work-dir', tmp_path, '--no-validate')
    short = ('--cfg-options', 'train_cfg.max_epochs=1')
    assert call(capsys, *words, *short).code == 0
    assert 'epoch_1.pth' in refused(call(capsys, *words, *short))
    refused(call(capsys, *words, '--resume', '--overwrite', *short), '--resume', 'auto')
    assert call(capsys, *words, '--resume').code == 0
    assert last(tmp_path)['progress']['iter'] == 3 * PER_EPOCH
    assert call(capsys, *words, '--overwrite', *short).code == 0
    assert [file.name for file in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_options_reach_the_run(tiny_config, tmp_path, capsys):
    options = ('train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0.5', 'randomness.seed=3')
    words = (tiny_config(), '--work-dir', tmp_path, '--auto-scale-lr', '--cfg-options')
    done = call(capsys, *words, 'auto_scale_lr.base_batch_size=60', *options)
    assert done.code == 0
    assert 'learning rate scaled from 0.5 (batch 60) to 0.05 (batch 6)' in log(tmp_path)
    content = last(tmp_path, 1)
    assert content['meta']['seed'] == 3
    assert content['meta']['settings']['optim_wrapper']['optimizer']['lr'] == 0.5


def test_loader_options(tiny_config, tmp_path, capsys):
    done = call(
        capsys,
        *(tiny_config(), '--work-dir', tmp_path, '--no-validate'),
        *('--no-persistent-workers', '--no-pin-memory'),
        *('--cfg-options', 'train_cfg.max_epochs=1'),
    )
    assert done.code == 0
    settings = last(tmp_path, 1)['meta']['settings']
    loader = settings['train_dataloader']
    assert (loader['persistent_workers'], loader['pin_memory']) == (False, False)
    assert settings['val_dataloader'] is None


@pytest.mark.parametrize(
    ('words', 'key', 'value', 'fact'),
    [
        (('--resume', 'gone.pth'), 'file', 'gone.pth', ''),
        (
            ('--cfg-options', 'trian_cfg.max_epochs=1'),
            'trian_cfg.max_epochs', 1, 'did you mean train_cfg',
        ),
        (('--cfg-options', 'train_cfg=None'), 'train_cfg', None, 'tools/test.py'),
        (('--cfg-options', 'data_root=gone/'), 'folder', 'gone/train', 'pass your data by'),
        (
            ('--cfg-options', 'train_dataloader.batch_size=25'),
            '', None, '24 images make no batch of 25',
        ),
        (
            ('--cfg-options', 'train_dataloader.dataset.ann_file=no.txt'),
            '', None, 'no.txt: no such list',
        ),
        (
            ('--cfg-options', 'model.momentum.strat=1'),
            '', None, "argument 'strat' (did you mean start",
        ),
        (('--auto-scale-lr',), '', None, '--auto-scale-lr needs auto_scale_lr.base_batch_size'),
        (('--launcher', 'pytorch'), '', None, '--launcher pytorch: RANK is not set; start with t'),
        pytest.param(
            ('--amp',),
            '', None, '--amp needs a GPU and none is visible',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(tiny_config, tmp_path, capsys, monkeypatch, words, key, value, fact):
    monkeypatch.chdir(tmp_path)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    done = call(capsys, tiny_config(), '--work-dir', tmp_path / 'w', *words)
    assert fact in refused(done, key, value)
    assert not list(tmp_path.rglob('*.pth'))


def test_a_missing_config_is_one_line(tiny_config, capsys):
    path = tiny_config().with_name('tiny_vot.py')
    assert 'did you mean tiny_' in refused(call(capsys, path), 'file', str(path))


def test_bad_input_is_one_line_in_a_process_of_its_own(tiny_config, tmp_path):
    done = start(tiny_config(), '--resume', 'gone.pth', cwd=tmp_path)
    assert refused(done) == 'error: gone.pth: no such file'


def test_an_unreadable_image_is_named_from_a_workers_process(
    tiny_config, image_folder, tmp_path, capsys
):
    data = tmp_path / 'data'
    shutil.copytree(image_folder, data)
    broken = data / 'train' / 'green' / '4.png'
    broken.write_bytes(broken.read_bytes()[:300])
    options = (f'data_root={data}', 'train_dataloader.num_workers=2')
    words = ('--work-dir', tmp_path / 'w', '--cfg-options', *options)
    # one of 24 is more than 1 %, so the run stops with the list; that needs the workers' reports
    line = refused(call(capsys, tiny_config(), *words))
    assert line.startswith('error: 1 unreadable images among the 24 first read of 24')
    assert f'{broken}: image file is truncated' in line
    options = (*options, 'default_hooks.bad_samples.share=0.05', 'train_cfg.max_epochs=1')
    # epoch 1 ends with the monitor, which looks at the same file and allows as much
    done = call(capsys, tiny_config(), '--work-dir', tmp_path / 'v', '--cfg-options', *options)
    assert done.code == 0
    assert done.out.count(f'another took its place: {broken}: ') == 1


def test_an_empty_folder_is_named(tiny_config, tmp_path, capsys):
    (tmp_path / 'train').mkdir()
    words = ('--cfg-options', f'data_root={tmp_path}', '--work-dir', tmp_path / 'w')
    refused(call(capsys, tiny_config(), *words), 'folder', str(tmp_path / 'train'))


def test_a_full_disk_is_one_line(tiny_config, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', fail)
    line = refused(call(capsys, tiny_config(), '--work-dir', tmp_path))
    assert 'epoch_1.pth: could not be written ([Errno 28] No space left' in line
    assert 'continue with --resume' in line
    assert not list(tmp_path.glob('*.pth'))
    assert not list(tmp_path.glob('.*.pth*'))
