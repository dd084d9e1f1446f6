"""tools/test.py from the command line."""

import json

import pytest
import torch

from mmssl.apis import load_config
from mmssl.registry import MODELS

from ..helpers.command import call, refused, start
from ..helpers.paths import REPO
from ..helpers.tiny import make_runner

SCRIPT = 'tools/test.py'


@pytest.fixture(scope='module')
def checkpoint(tiny_config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    make_runner(tiny_config(), work_dir, train_cfg__max_epochs=1).train()
    return work_dir / 'epoch_1.pth'


def test_predictions_are_written_for_every_image(tiny_config, checkpoint, tmp_path, image_folder):
    out = tmp_path / 'pred.json'
    done = start(tiny_config(), checkpoint, '--out', out, cwd=tmp_path, script=SCRIPT)
    assert (done.code, done.err) == (0, '')
    found = json.loads(out.read_text())
    files = sorted(str(p) for p in (image_folder / 'val').rglob('*.png'))
    assert [prediction['path'] for prediction in found] == files
    right = sum(prediction['pred_label'] == prediction['gt_label'] for prediction in found)
    names = ('blue', 'green', 'red')
    for prediction in found:
        assert prediction['path'].split('/')[-2] == names[prediction['gt_label']]
        assert prediction['pred_class'] == names[prediction['pred_label']]
        assert 1 / 3 <= prediction['pred_score'] <= 1
    assert f'top-1 {100 * right / 9:.1f} %' in done.out


def test_metrics_are_written_on_request(tiny_config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'metrics.json'
    words = (tiny_config(), checkpoint, '--work-dir', tmp_path, '--out', out)
    assert call(capsys, *words, '--out-item', 'metrics', script=SCRIPT).code == 0
    names = {'knn/top1', 'knn/top1_k5', 'knn/top5_k5', 'knn/top1_k1', 'knn/top5_k1'}
    assert set(json.loads(out.read_text())) == names


def test_images_are_drawn(tiny_config, checkpoint, tmp_path, capsys):
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


KNN = REPO / 'configs' / 'knn_in1k.py'


def test_one_knn_config_measures_any_training_file(checkpoint, tmp_path, capsys, image_folder):
    view = 'test_dataloader.dataset.pipeline.1'
    options = (f'data_root={image_folder}', f'{view}.size=16', f'{view}.resize=16')
    options = ('--cfg-options', *options, 'test_dataloader.num_workers=0', 'test_cfg.k=[5,1]')
    done = call(capsys, KNN, checkpoint, '--work-dir', tmp_path, *options, script=SCRIPT)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / 'result.json').read_text())
    assert found['backbone']['arch'] == [16, 2, 2] and found['settings']['k'] == [5, 1]
    assert found['encoder']['file'] == str(checkpoint)


def test_a_file_of_others_needs_its_network_described(tmp_path, capsys):
    file = tmp_path / 'official.pth'
    torch.save({'state_dict': {'conv1.weight': torch.ones(2)}}, file)
    line = refused(call(capsys, KNN, file, script=SCRIPT), 'pretrained', str(file))
    assert 'model.backbone.type=' in line


def test_another_networks_file_is_refused(tiny_config, tmp_path, capsys):
    other = MODELS.build(load_config(tiny_config('resnet')).model)
    torch.save({'state_dict': other.state_dict()}, tmp_path / 'other.pth')
    words = (tiny_config(), tmp_path / 'other.pth', '--work-dir', tmp_path / 'w')
    refused(call(capsys, *words, script=SCRIPT), 'file', str(tmp_path / 'other.pth'))


@pytest.mark.parametrize(
    ('words', 'key', 'value', 'fact'),
    [
        ((), 'file', None, ''),
        (('gone.pth',), 'file', 'gone.pth', ''),
        (('random', '--out-item', 'metrics'), '--out', None, ''),
        (('random', '--tta'), '--tta', True, ''),
        (('random', '--cfg-options', 'val_cfg.kk=3'), 'val_cfg.kk', 3, 'KNNLoop'),
        (('random', '--cfg-options', 'data_root=gone'), 'folder', 'gone/val', ''),
        (('random', '--cfg-options', 'val_cfg=None'), 'test_cfg', None, 'val_cfg'),
        pytest.param(
            ('random', '--amp'),
            *('--amp', True, ''),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)
def test_bad_input_is_one_line(tiny_config, tmp_path, capsys, monkeypatch, words, key, value, fact):
    monkeypatch.chdir(tmp_path)
    done = call(capsys, tiny_config(), *words, '--work-dir', tmp_path / 'w', script=SCRIPT)
    assert fact in refused(done, key, value)
