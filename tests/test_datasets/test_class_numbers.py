"""A validation set may lack classes: folders go by name, numbers of lists stay."""

import shutil
import zipfile

import pytest
from PIL import Image

from mmssl.datasets import ImageDataset
from mmssl.datasets.class_numbers import follow_classes
from mmssl.evaluation.feature_loop import check_classes
from mmssl.evaluation.sanity_checks import check_labels

from ..helpers.packed import copy
from ..helpers.refusals import refuses
from ..helpers.tiny import losses, make_runner

VIEW = [dict(type='LoadImage'), dict(type='CenterView', size=8)]


def folders(root, *names, count=2):
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new('RGB', (8, 8)).save(root / name / f'{name}{i}.png')


@pytest.fixture
def train(tmp_path):
    folders(tmp_path / 'train', 'a', 'b', 'c')
    return ImageDataset(str(tmp_path), 'train')


def numbers(data):
    """Return the label of each item, as the data set has it and as a batch gets it."""
    items = [data[i]['data_samples']['label'] for i in range(len(data))]
    assert items == data.labels
    return items


@pytest.mark.parametrize('empty', [False, True])
@pytest.mark.parametrize('kind', ['FolderSource', 'ZipSource'])
def test_folders_by_name(tmp_path, train, kind, empty):
    folders(tmp_path / 'val', 'a', 'c')
    if empty:
        (tmp_path / 'val/b').mkdir()
    with zipfile.ZipFile(tmp_path / 'val.zip', 'w') as archive:
        for name in ('a/a0.png', 'a/a1.png', 'c/c0.png', 'c/c1.png'):
            archive.write(tmp_path / 'val' / name, name)
    val = ImageDataset(str(tmp_path), 'val', pipeline=VIEW, source=dict(type=kind))
    assert val.labels == [0, 0, 1, 1]
    check_classes(train, val)
    assert numbers(val) == [0, 0, 2, 2]
    assert val.classes == ('a', 'b', 'c')
    check_labels(3, val, 'val_dataloader')


def test_a_part_of_a_set(tmp_path, train):
    folders(tmp_path / 'val', 'b', 'c')
    val = ImageDataset(str(tmp_path), 'val', pipeline=VIEW, per_class=1)
    check_classes(train, val)
    assert numbers(val) == [1, 2]


def test_names_that_are_numbers(tmp_path):
    folders(tmp_path / 'train', '0', '1', '10', '2')
    folders(tmp_path / 'val', '0', '1', '2')
    train, val = (ImageDataset(str(tmp_path), split, pipeline=VIEW) for split in ('train', 'val'))
    check_classes(train, val)
    assert numbers(val) == [0, 0, 1, 1, 3, 3]


@pytest.mark.parametrize('bank', ['folders', 'list'])
@pytest.mark.parametrize(('labels', 'ok'), [((0, 1), True), ((0, 2), True), ((1, 3), False)])
def test_lists_within_the_range(tmp_path, train, bank, labels, ok):
    text = ''.join(f'{n}/{n}0.png {i}\n' for i, n in enumerate('abc'))
    (tmp_path / 'all.txt').write_text(text)
    if bank == 'list':
        train = ImageDataset(str(tmp_path), 'train', ann_file='all.txt')
    (tmp_path / 'val.txt').write_text(f'a/a0.png {labels[0]}\nb/b0.png {labels[1]}\n')
    val = ImageDataset(str(tmp_path), 'train', ann_file='val.txt', pipeline=VIEW)
    if not ok:
        with refuses('bank', train.classes):
            check_classes(train, val)
        return
    check_classes(train, val)
    assert numbers(val) == list(labels)
    assert val.classes == train.classes


def test_a_class_that_training_lacks(tmp_path, train):
    folders(tmp_path / 'val', 'a', 'd')
    val = ImageDataset(str(tmp_path), 'val')
    with refuses('val_dataloader', ('a', 'b', 'c')) as caught:
        follow_classes(val, train.classes, 'val_dataloader')
    assert '1 of 2 classes (d)' in str(caught.value)


def test_masks_carry_their_own_numbers(tmp_path, train):
    folders(tmp_path / 'val', 'a', 'c')
    folders(tmp_path / 'val-segmentation', 'a', 'c')
    val = ImageDataset(str(tmp_path), 'val', source=dict(type='ImageNetSSource'))
    with refuses('val_dataloader', ('other', 'a', 'b', 'c')) as caught:
        follow_classes(val, ('other', 'a', 'b', 'c'), 'val_dataloader')
    assert 'class folders' in str(caught.value)
    follow_classes(val, ('other', 'a', 'c', 'd'), 'val_dataloader')  # the last may be missing
    assert val.labels == [1, 1, 2, 2]


def test_a_monitor_counts_by_name(image_folder, tmp_path, tiny_config):
    root = copy(image_folder, tmp_path / 'a', [])
    first, *others = sorted(path.name for path in (root / 'train').iterdir())
    shutil.rmtree(root / 'val' / first)
    runner = make_runner(tiny_config(), tmp_path / 'w', data_root=str(root))
    losses(runner)
    found = [(p['path'].split('/')[-2], p['gt_label']) for p in runner.step_status.predictions]
    assert len(found) == 6
    assert {*found} == {(name, i) for i, name in enumerate(others, 1)}
