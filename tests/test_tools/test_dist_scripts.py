"""tools/dist_train.sh and dist_test.sh: torchrun on the CPU."""

import json

import pytest
from torch.testing import assert_close

from mmssl.checkpoint import read

from ..helpers.command import call, free_port, start
from ..helpers.tiny import log

SETTINGS = (
    'optim_wrapper.optimizer.type=SGD',
    'optim_wrapper.optimizer.lr=0.01',
    'train_cfg.max_epochs=1',
)


@pytest.mark.slow
def test_two_processes_train_and_test_as_one(tiny_config, tmp_path, capsys):
    config = tiny_config('resnet')
    one, two = tmp_path / 'one', tmp_path / 'two'
    assert call(capsys, config, '--work-dir', one, '--cfg-options', *SETTINGS).code == 0
    done = start(
        *(config, 2, '--work-dir', two, '--cfg-options', *SETTINGS),
        *('train_dataloader.batch_size=3', 'sync_bn=torch'),
        cwd=tmp_path,
        script='tools/dist_train.sh',
        PORT=free_port(),
    )
    assert done.code == 0, done.err
    ours, expected = (read(folder / 'epoch_1.pth') for folder in (two, one))
    assert ours['progress'] == expected['progress'] | dict(processes=2, batch_size=3)
    assert len(ours['random']['torch']) == 2
    for name, value in expected['state_dict'].items():
        assert_close(ours['state_dict'][name], value, rtol=1e-5, atol=1e-5, msg=name)
    assert log(two).count('epoch 1/1  step 4/4') == 1  # one process speaks

    alone, both = tmp_path / 'alone.json', tmp_path / 'both.json'
    words = ('--out-item', 'metrics', '--work-dir', tmp_path / 'test')
    call(capsys, config, two / 'epoch_1.pth', '--out', alone, *words, script='tools/test.py')
    done = start(
        *(config, two / 'epoch_1.pth', 2, '--out', both, *words),
        cwd=tmp_path,
        script='tools/dist_test.sh',
        PORT=free_port(),
    )
    assert done.code == 0, done.err
    metrics = json.loads(alone.read_text())
    assert json.loads(both.read_text()) == pytest.approx(metrics)
    assert len(metrics) == 5


@pytest.mark.parametrize(
    ('script', 'words', 'usage'),
    [
        ('tools/dist_train.sh', ('config.py',), 'CONFIG NGPU [options of train.py]'),
        ('tools/dist_test.sh', ('config.py', 'a.pth'), 'CONFIG CHECKPOINT NGPU [options of'),
    ],
)
def test_missing_words_are_asked_for(tmp_path, script, words, usage):
    done = start(*words, cwd=tmp_path, script=script)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith('usage: ')
    assert usage in done.err


def test_a_mistake_is_told_without_a_stack(tiny_config, tmp_path):
    words = (tiny_config('resnet'), 2, '--work-dir', tmp_path, '--resume', tmp_path / 'x.pth')
    done = start(*words, cwd=tmp_path, script='tools/dist_train.sh', PORT=free_port())
    assert done.code == 2
    said = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert said[0] == f'error: {tmp_path}/x.pth: no such file'
    assert said[-1].endswith('ended with exit status 2; its reason stands above')
    assert 'Traceback' not in done.err + done.out


@pytest.mark.parametrize('script', ['tools/dist_train.sh', 'tools/dist_test.sh'])
def test_the_number_of_processes_is_a_number(tmp_path, script):
    words = ('c.py', 'none') if 'train' in script else ('c.py', 'x.pth', 'none')
    done = start(*words, cwd=tmp_path, script=script)
    assert (done.code, done.err) == (2, "error: NGPU is a number of processes, got 'none'\n")
