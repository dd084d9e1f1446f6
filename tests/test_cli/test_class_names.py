"""A classifier's file names its classes: other folders follow them by name, or are refused."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

import mmssl
from mmssl.cli import publish_model, train
from mmssl.cli.extract_backbone import main as extract_backbone

from ..helpers.command import call, refused
from ..helpers.hub import write_classifier
from ..helpers.packed import copy

NAMES = ('blue', 'green', 'red')
SMALL = [
    'pretrained=random',
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=6',
    'train_dataloader.dataset.split=train',
    'optim_wrapper.optimizer.lr=0.5',
    'default_hooks.checkpoint.interval=1',
    *(
        f'{part}_dataloader.{option}'
        for part in ('train', 'val')
        for option in ('num_workers=0', 'persistent_workers=False', 'dataset.pipeline.1.size=16')
    ),
]
TEST = 'tools/test.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, image_folder):
    """Train a tiny probe for one epoch; return its config, data, work dir and file."""
    folder = tmp_path_factory.mktemp('trained')
    data = copy(image_folder, folder / 'data', [])
    config = write_classifier(folder, data)
    work_dir = folder / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', ['train'])
        train.main([str(config), '--work-dir', str(work_dir), '--cfg-options', *SMALL])
    return SimpleNamespace(config=config, data=data, run=work_dir, file=work_dir / 'epoch_1.pth')


@pytest.fixture
def other(tmp_path, trained):
    """Return a function that copies the data with other folders: {name: new name or ''}."""

    def change(split, **names):
        root = copy(trained.data, tmp_path / 'other', [])
        for old, new in names.items():
            folder = root / split / old
            if new:
                folder.rename(folder.with_name(new))
            else:
                shutil.rmtree(folder)
        return root

    return change


def predictions(path):
    return {'/'.join(p['path'].split('/')[-2:]): p for p in json.loads(path.read_text())}


def test_a_test_set_that_lacks_a_class_is_numbered_by_name(trained, other, tmp_path, capsys):
    out = tmp_path / 'pred.json'
    words = (trained.config, trained.file, '--work-dir', tmp_path / 'w', '--out', out)
    assert call(capsys, *words, script=TEST).code == 0
    whole = predictions(out)
    root = other('val', blue='')
    done = call(capsys, *words, '--cfg-options', f'data_root={root}', script=TEST)
    assert done.code == 0, done.err
    some = predictions(out)
    assert len(some) == 6
    for name, found in some.items():
        assert found['gt_label'] == whole[name]['gt_label'] == NAMES.index(name.split('/')[0])
        assert found['pred_class'] == whole[name]['pred_class'] == NAMES[found['pred_label']]


def test_a_list_keeps_its_numbers(trained, tmp_path, capsys):
    lines = [f'{n}/{p.name} {i}' for i, n in enumerate(NAMES) for p in _images(trained, n)]
    (trained.data / 'val.txt').write_text('\n'.join(lines[:6]))
    option = 'test_dataloader.dataset.ann_file=val.txt'
    out = tmp_path / 'pred.json'
    words = (trained.config, trained.file, '--work-dir', tmp_path / 'w', '--out', out)
    assert call(capsys, *words, '--cfg-options', option, script=TEST).code == 0
    found = predictions(out).values()
    assert [p['gt_label'] for p in found] == [0, 0, 0, 1, 1, 1]
    assert {p['pred_class'] for p in found} <= set(NAMES)


def _images(trained, name):
    return sorted((trained.data / 'val' / name).iterdir())


@pytest.mark.parametrize('names', [dict(red='yellow'), dict(blue='a', green='b', red='c')])
def test_other_classes_are_refused_with_both_lists(trained, other, tmp_path, capsys, names):
    words = (trained.config, trained.file, '--work-dir', tmp_path / 'w')
    options = ('--cfg-options', f'data_root={other("val", **names)}')
    line = refused(call(capsys, *words, *options, script=TEST), 'test_dataloader', NAMES)
    for name in (*NAMES, *names.values(), str(trained.file)):
        assert name in line


@pytest.mark.parametrize('way', ['load_from', 'resume', 'resume, named'])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_training_goes_on_with_the_classes_of_the_file(
    trained, other, tmp_path, capsys, way, split
):
    run = tmp_path / 'w'
    options = [*SMALL, 'train_cfg.max_epochs=2', f'data_root={other(split, red="yellow")}']
    words = {
        'load_from': ('--cfg-options', *options, f'load_from={trained.file}', 'load_part=all'),
        'resume': ('--resume', '--cfg-options', *options),
        'resume, named': ('--resume', trained.file, '--cfg-options', *options),
    }[way]
    run.mkdir()
    if way == 'resume':
        shutil.copy(trained.file, run)
    done = call(capsys, trained.config, '--work-dir', run, *words)
    refused(done, f'{split}_dataloader', NAMES)


def test_training_on_fewer_classes_keeps_their_numbers(trained, other, tmp_path, capsys):
    root = other('train', green='')
    options = [*SMALL, f'data_root={root}', f'load_from={trained.file}', 'load_part=all']
    words = (trained.config, '--work-dir', tmp_path / 'w', '--cfg-options', *options)
    done = call(capsys, *words)
    assert done.code == 0, done.err
    content = torch.load(tmp_path / 'w/epoch_1.pth', weights_only=True)
    assert tuple(content['meta']['classes']) == NAMES


def test_the_network_alone_takes_other_classes(trained, other, tmp_path, capsys):
    root = other('train', red='yellow')
    shutil.rmtree(root / 'val')
    shutil.copytree(root / 'train', root / 'val')
    extract_backbone([str(trained.file), str(tmp_path / 'net.pth')])
    encoder = f'pretrained={tmp_path / "net.pth"}'
    options = [*SMALL[1:], f'data_root={root}', encoder]
    words = (trained.config, '--work-dir', tmp_path / 'w', '--cfg-options', *options)
    done = call(capsys, *words)
    assert done.code == 0, done.err
    content = torch.load(tmp_path / 'w/epoch_1.pth', weights_only=True)
    assert content['meta']['classes'] == ['blue', 'green', 'yellow']


@pytest.mark.parametrize('published', [False, True])
def test_own_classifiers_name_their_answers(trained, tmp_path, published):
    file = trained.file
    if published:
        file = publish_model.main([str(file), str(tmp_path / 'out.pth')])
    model = mmssl.get_model(trained.config, pretrained=file)
    assert model._dataset_meta == dict(classes=NAMES)
    for source in (model, trained.config):
        options = {} if source is model else dict(pretrained=file)
        image = _images(trained, 'green')[0]
        found = mmssl.inference_model(source, str(image), **options)
        assert found['pred_class'] == NAMES[found['pred_label']]


@pytest.mark.parametrize('lists', [['0', '1', '2'], ['0', '1']])
def test_numbers_of_a_list_are_names_for_all_outputs(trained, tmp_path, lists):
    content = torch.load(trained.file, weights_only=True)
    meta = dict(content['meta'], classes=lists)
    torch.save({'state_dict': content['state_dict'], 'meta': meta}, tmp_path / 'net.pth')
    model = mmssl.get_model(trained.config, pretrained=tmp_path / 'net.pth')
    assert model._dataset_meta == dict(classes=('0', '1', '2'))
