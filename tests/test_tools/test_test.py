"""tools/test.py from the command line."""

import json

import pytest
import torch

from mmssl.apis import load_config
from mmssl.registry import MODELS

from ..tiny import make_runner
from .command import call, refused, start

SCRIPT = 'tools/test.py'


@pytest.fixture(scope='module')
def checkpoint(tiny_config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    make_runner(tiny_config(), work_dir, train_cfg__max_epochs=1).train()
    return work_dir / 'epoch_1.pth'


def test_predictions_are_written_for_every_image(tiny_config, checkpoint, tmp_path, pictures):
    out = tmp_path / 'pred.json'
    done = start(tiny_config(), checkpoint, '--out', out, cwd=tmp_path, script=SCRIPT)
    assert (done.code, done.err) == (0, '')
    found = json.loads(out.read_text())
    files = sorted(str(p) for p in (pictures / 'val').rglob('*.png'))
    assert [record['path'] for record in found] == files
    right = sum(record['pred_label'] == record['gt_label'] for record in found)
    names = ('blue', 'green', 'red')
    for record in found:
        assert record['path'].split('/')[-2] == names[record['gt_label']]
        assert record['pred_class'] == names[record['pred_label']]
        assert 1 / 3 <= record['pred_score'] <= 1
    assert f'top-1 {100 * right / 9:.1f} %' in done.out


def test_metrics_are_written_on_request(tiny_config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'metrics.json'
    words = (tiny_config(), checkpoint, '--work-dir', tmp_path, '--out', out)
    assert call(capsys, *words, '--out-item', 'metrics', script=SCRIPT).code == 0
    names = {'knn/top1', 'knn/top1_k5', 'knn/top5_k5', 'knn/top1_k1', 'knn/top5_k1'}
    assert set(json.loads(out.read_text())) == names


def test_pictures_are_drawn(tiny_config, checkpoint, tmp_path, capsys):
    words = (tiny_config(), checkpoint, '--work-dir', tmp_path / 'w')
    assert call(capsys, *words, '--show-dir', tmp_path / 'show', script=SCRIPT).code == 0
    assert len(list((tmp_path / 'show').glob('*.png'))) == 9


def test_the_untrained_network_can_be_measured(tiny_config, tmp_path, capsys):
    outs = []
    for seed in (0, 0, 1):
        outs.append(tmp_path / f'{len(outs)}.json')
        options = ('--cfg-options', f'randomness.seed={seed}')
        words = (tiny_config(), 'random', '--work-dir', tmp_path, '--out', outs[-1], *options)
        assert call(capsys, *words, script=SCRIPT).code == 0
    a, b, c = (json.loads(out.read_text()) for out in outs)
    assert a == b
    assert a != c


def test_another_networks_file_is_refused(tiny_config, tmp_path, capsys):
    other = MODELS.build(load_config(tiny_config('resnet')).model)
    torch.save({'state_dict': other.state_dict()}, tmp_path / 'other.pth')
    words = (tiny_config(), tmp_path / 'other.pth', '--work-dir', tmp_path / 'w')
    line = refused(call(capsys, *words, script=SCRIPT))
    assert 'other.pth: does not hold this backbone' in line


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('gone.pth',), 'gone.pth: no such file'),
        (('random', '--out-item', 'metrics'), '--out-item says what --out receives: add --out'),
        (('random', '--cfg-options', 'val_cfg.kk=3'), "KNNLoop has no argument 'kk'"),
        (('random', '--cfg-options', 'data_root=gone'), 'gone/val: no such folder'),
        (('random', '--cfg-options', 'val_cfg=None'), 'neither test_cfg nor val_cfg'),
        pytest.param(
            ('random', '--amp'),
            '--amp needs a GPU and none is visible',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)
def test_bad_input_is_one_line(tiny_config, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = call(capsys, tiny_config(), *words, '--work-dir', tmp_path / 'w', script=SCRIPT)
    assert message in refused(done)
