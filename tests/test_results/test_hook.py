"""The contents of result.json: metrics, data, weights, settings and published figures."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmssl.apis import load_config
from mmssl.evaluation.fingerprint import data_fingerprint
from mmssl.registry import DATASETS, MODELS
from mmssl.results.hook import summary

from ..helpers.command import call, refused
from ..helpers.hub import write_classifier
from ..helpers.knn_runs import weights, write_knn
from ..helpers.results import TEST, result

SMALL = [
    'train_dataloader.batch_size=6',
    'optim_wrapper.optimizer.lr=0.5',
    *(
        f'{part}_dataloader.{option}'
        for part in ('train', 'val')
        for option in ('num_workers=0', 'persistent_workers=False', 'dataset.pipeline.1.size=16')
    ),
]


@pytest.fixture
def probe(tmp_path, image_folder):
    """Train a tiny linear probe for three epochs; return config, encoder and work dir."""
    config, file = write_classifier(tmp_path, image_folder), tmp_path / 'encoder.pth'
    net = MODELS.build(load_config(config).model).backbone
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in net.state_dict().items()}}, file)
    return config, file, tmp_path / 'run'


def test_a_knn_result_is_whole(tmp_path, image_folder, capsys):
    config, file = write_knn(tmp_path, image_folder), weights(tmp_path / 'a.pth')
    words = (config, file, '--work-dir', tmp_path / 'run', '--cfg-options', 'test_cfg.k=[30,3]')
    done = call(capsys, *words, script=TEST)
    assert done.code == 0
    found = result(tmp_path / 'run')
    assert done.out.splitlines()[-1].endswith(f'result in {tmp_path / "run" / "result.json"}')
    assert (found['protocol'], found['seed'], found['config']) == ('kNN', 0, str(config))
    encoder = found['encoder']
    assert encoder['sha256'] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (encoder['asked'], encoder['file'], encoder['layout']) == (
        str(file),
        str(file),
        'mmssl',
    )
    state = torch.load(file, weights_only=True)['state_dict']
    assert found['backbone']['parameters'] == sum(v.numel() for v in state.values())
    assert found['backbone']['arch'] == [16, 2, 2]
    settings = found['settings']
    assert (settings['k'], settings['temperature']) == ([24, 3], 0.07)
    assert settings['features'] == dict(blocks=1, pool='auto')
    assert [t['type'] for t in found['transform']['test']] == ['LoadImage', 'CenterView']
    assert found['transform']['normalised']['std'] == [0.229, 0.224, 0.225]
    assert (found['data']['test']['images'], settings['bank']['images']) == (9, 24)
    assert found['warnings'] == ['kNN: k=30 lowered to the 24 images of the bank']
    metrics = found['metrics']
    assert set(metrics) == {'knn/top1', *(f'knn/top{n}_k{k}' for n in (1, 5) for k in (24, 3))}
    best = max(metrics['knn/top1_k24'], metrics['knn/top1_k3'])
    assert found['metric']['last'] == metrics['knn/top1'] == metrics['knn/top1_k24']
    assert found['metric']['best'] == best == metrics[found['metric']['best_at']]
    assert f'{TEST} {config} {file} ' in found['command']
    assert found['versions']['torch'] == torch.__version__
    assert found['published'] is None


def test_a_trained_probe_keeps_every_epoch_and_resuming_adds(probe, capsys):
    config, file, folder = probe
    words = (config, '--work-dir', folder, '--cfg-options', f'pretrained={file}', *SMALL)
    assert call(capsys, *words, 'train_cfg.max_epochs=6').code == 0
    found = result(folder)
    top1 = [line['accuracy/top1'] for line in found['history']]
    assert [line['epoch'] for line in found['history']] == [1, 2, 3, 4, 5, 6]
    assert found['metric']['last'] == found['metrics']['accuracy/top1'] == top1[-1]
    assert found['metric']['best'] == max(top1)
    assert found['metric']['best_at'] == f'epoch {1 + top1.index(max(top1))}'
    settings = found['settings']
    assert (settings['epochs'], settings['batch'], settings['blocks']) == (6, 6, 1)
    assert settings['optimizer']['lr'] == 0.5
    assert {name: data['images'] for name, data in found['data'].items()} == dict(train=24, test=9)
    before = found['encoder']
    words = (config, '--resume', '--work-dir', folder, '--cfg-options', *SMALL)
    assert call(capsys, *words, 'train_cfg.max_epochs=8').code == 0
    found = result(folder)
    assert [line['accuracy/top1'] for line in found['history']][:6] == top1
    assert [line['epoch'] for line in found['history']] == list(range(1, 9))
    assert found['encoder'] == before
    trained = folder / 'epoch_8.pth'
    assert call(capsys, config, trained, '--work-dir', folder / 't', script=TEST).code == 0
    tested = result(folder / 't')
    assert tested['metric']['last'] == found['metric']['last']
    assert tested['classifier']['sha256'] == hashlib.sha256(trained.read_bytes()).hexdigest()
    assert tested['encoder']['weights'] == before['weights'], 'a probe leaves the network alone'


# refusals -----------------------------------------------------------------------------------------
def test_labels_that_do_not_fit_are_refused(probe, tmp_path, image_folder, capsys):
    _, file, folder = probe
    config = write_classifier(tmp_path, image_folder, classes=5)
    words = (config, '--work-dir', folder, '--cfg-options', f'pretrained={file}', *SMALL)
    said = refused(call(capsys, *words), 'model.head.num_classes', 5)
    assert '3 classes (blue, green, red, ...)' in said
    assert not list(folder.rglob('result.json'))


def test_a_network_that_stays_random_is_refused(probe, capsys, monkeypatch):
    """As it would be if the weights' names were passed over in silence."""
    config, file, folder = probe
    monkeypatch.setattr('mmssl.models.backbones.base.Backbone.init_weights', lambda _: None)
    words = (config, '--work-dir', folder, '--cfg-options', f'pretrained={file}', *SMALL)
    assert 'is random' in refused(call(capsys, *words), 'pretrained', str(file))


def test_features_that_are_not_finite_name_the_file(tmp_path, image_folder, capsys):
    """A weight that is finite itself, and too large for what follows."""
    config, file = write_knn(tmp_path, image_folder), weights(tmp_path / 'a.pth')
    content = torch.load(file, weights_only=True)
    content['state_dict']['backbone.net.norm.weight'].fill_(3e38)
    content['state_dict']['backbone.net.norm.bias'].fill_(3e38)
    torch.save(content, file)
    done = call(capsys, config, file, '--work-dir', tmp_path / 'run', script=TEST)
    assert 'of 24 images (first ' in refused(done, 'file', str(file))


def test_a_probe_of_features_that_are_not_finite_names_the_file(probe, capsys):
    config, file, folder = probe
    content = torch.load(file, weights_only=True)
    content['state_dict']['backbone.net.bn1.weight'].fill_(3e38)
    torch.save(content, file)
    words = (config, '--work-dir', folder, '--cfg-options', f'pretrained={file}', *SMALL)
    assert '0.png are not finite' in refused(call(capsys, *words), 'pretrained', str(file))


def test_a_block_that_does_not_exist_is_named(tmp_path, image_folder, capsys):
    config, file = write_knn(tmp_path, image_folder), weights(tmp_path / 'a.pth')
    words = (config, file, '--work-dir', tmp_path / 'run')
    unknown = dict(blocks=1, pool='auto', block=3)
    for option, key, value, fact in (
        ('test_cfg.feature.blocks=3', 'feature.blocks', 3, 'has 2 blocks'),
        ('test_cfg.feature.pool=max', 'pool', 'max', 'mean_raw'),
        ('test_cfg.feature.block=3', 'feature', unknown, 'pooled, pixels or dict'),
    ):
        done = call(capsys, *words, '--cfg-options', option, script=TEST)
        assert fact in refused(done, key, value)


def test_a_bank_of_one_class_is_scored_with_a_warning(tmp_path, capsys, make_image):
    for split, count in (('train', 3), ('val', 2)):
        for i in range(count):
            path = tmp_path / 'one' / split / 'cat' / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            make_image(seed=10 * count + i).save(path)
    config, file = write_knn(tmp_path, tmp_path / 'one'), weights(tmp_path / 'a.pth')
    assert call(capsys, config, file, '--work-dir', tmp_path / 'run', script=TEST).code == 0
    found = result(tmp_path / 'run')
    assert found['metric']['last'] == 100.0
    assert found['warnings'] == [
        'kNN: k=5 lowered to the 3 images of the bank',
        'kNN: all images of the bank are of one class, so that every answer is this class',
    ]


# data ---------------------------------------------------------------------------------------------
def build(root, **more):
    return DATASETS.build(dict(type='ImageDataset', data_root=str(root), split='val', **more))


def test_a_data_hash_knows_names_labels_and_pixels(tmp_path, image_folder):
    copy = tmp_path / 'copy'
    shutil.copytree(image_folder, copy)
    first = data_fingerprint(build(image_folder))
    assert (first['images'], first['classes']) == (9, 3)
    assert first['name'] == f'{Path(image_folder).name}/val'
    assert data_fingerprint(build(copy))['hash'] == first['hash']
    assert data_fingerprint(build(copy, per_class=2))['hash'] != first['hash']
    file = copy / 'val' / 'red' / '1.png'
    Image.open(file).resize((9, 9)).save(file)
    smaller = data_fingerprint(build(copy))['hash']
    assert smaller != first['hash']
    file.rename(file.with_name('7.png'))
    assert data_fingerprint(build(copy))['hash'] not in (first['hash'], smaller)


def test_last_and_best_are_told_apart():
    history = [dict(epoch=e, **{'accuracy/top1': v}) for e, v in ((1, 3.0), (2, 5.0), (3, 4.0))]
    found = summary({'accuracy/top1': 4.0, 'accuracy/top5': 9.0}, history)
    assert found == dict(name='accuracy/top1', last=4.0, best=5.0, best_at='epoch 2')
    assert summary({'miou': 2.0}, []) == dict(name='miou', last=2.0, best=2.0, best_at='')


def test_a_damaged_result_does_not_keep_a_probe_from_resuming(probe, capsys):
    config, file, folder = probe
    words = (config, '--work-dir', folder, '--cfg-options', f'pretrained={file}', *SMALL)
    assert call(capsys, *words, 'train_cfg.max_epochs=1').code == 0
    (folder / 'result.json').write_text('{"protocol": "lin')
    done = call(capsys, config, '--resume', *words[1:], 'train_cfg.max_epochs=2')
    assert done.code == 0, done.err
    assert [line['epoch'] for line in result(folder)['history']] == [2]
