"""Tiny-ImageNet and ImageNet's flat validation images are read as they are downloaded."""

import pytest

from mmssl.datasets import ImageDataset
from mmssl.datasets.class_numbers import follow_classes

from ..helpers.images import make_image
from ..helpers.refusals import refuses

WNIDS = ('n01', 'n02', 'n03')


def save(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_image().save(root / name, 'JPEG')


@pytest.fixture
def tiny(tmp_path):
    """Tiny-ImageNet of three classes."""
    for wnid in WNIDS:
        save(tmp_path, *(f'train/{wnid}/images/{wnid}_{i}.JPEG' for i in range(2)))
        (tmp_path / f'train/{wnid}/{wnid}_boxes.txt').write_text(f'{wnid}_0.JPEG\t0\t0\t5\t5\n')
    save(tmp_path, *(f'val/images/val_{i}.JPEG' for i in range(3)))
    save(tmp_path, *(f'test/images/test_{i}.JPEG' for i in range(2)))
    rows = ((0, 'n03'), (1, 'n01'), (2, 'n03'))
    lines = [f'val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n' for i, wnid in rows]
    (tmp_path / 'val/val_annotations.txt').write_text(''.join(lines))
    (tmp_path / 'wnids.txt').write_text('n03\nn01\nn02\n')
    return tmp_path


def test_tiny_imagenet(tiny):
    train, val, test = (ImageDataset(str(tiny), split) for split in ('train', 'val', 'test'))
    assert (train.classes, train.labels) == (WNIDS, [0, 0, 1, 1, 2, 2])
    assert (val.classes, val.labels) == (('n01', 'n03'), [1, 0, 1])
    assert val.source.key(1) == 'images/val_1.JPEG'
    follow_classes(val, train.classes, 'val_dataloader')
    assert val.labels == [2, 0, 2]
    assert (len(test), test.classes, test.labels) == (2, (), [])
    assert ImageDataset(str(tiny), 'val', with_label=False).labels == []


CAFFE = ''.join(f'ILSVRC2012_val_{i:08d}.JPEG {label}\n' for i, label in enumerate((2, 0, 1)))
KAGGLE = 'ImageId,PredictionString\n' + ''.join(
    f'ILSVRC2012_val_{i:08d},{WNIDS[label]} 85 1 499 272 \n' for i, label in enumerate((2, 0, 1))
)
LISTS = {
    "Caffe's list beside": ('ILSVRC/val', 'ILSVRC/val.txt', CAFFE),
    "Caffe's list inside": ('ILSVRC/val', 'ILSVRC/val/val.txt', CAFFE),
    "Caffe's list where OpenMMLab has it": ('ILSVRC/val', 'ILSVRC/meta/val.txt', CAFFE),
    "Kaggle's, far above": ('ILSVRC/Data/CLS-LOC/val', 'LOC_val_solution.csv', KAGGLE),
    "Kaggle's, beside": ('ILSVRC/val', 'ILSVRC/LOC_val_solution.csv', KAGGLE),
    'a table': ('ILSVRC/val', 'ILSVRC/val.csv', CAFFE.replace(' ', ',')),
}  # fmt: skip


@pytest.mark.parametrize(('place', 'file', 'text'), LISTS.values(), ids=LISTS)
def test_imagenets_flat_val(tmp_path, place, file, text):
    folder = tmp_path / place
    save(folder, *(f'ILSVRC2012_val_{i:08d}.JPEG' for i in range(3)))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    val = ImageDataset(str(folder.parent), 'val')
    assert val.labels == [2, 0, 1]
    assert len(val.classes) == 3
    follow_classes(val, WNIDS, 'bank')
    assert (val.labels, val.classes) == ([2, 0, 1], WNIDS)


def test_a_list_that_lacks_images(tiny):
    (tiny / 'val/val_annotations.txt').write_text('val_0.JPEG\tn03\n')
    with refuses('file', str(tiny / 'val/val_annotations.txt')) as caught:
        ImageDataset(str(tiny), 'val')
    assert '2 of 3 images' in str(caught.value) and 'images/val_1.JPEG' in str(caught.value)


@pytest.mark.parametrize('text', ['other.jpg 3\n', 'notes\n', '\0\1', ''])
def test_files_of_something_else_do_not_count(tmp_path, text):
    save(tmp_path, 'val/0.jpg', 'val/1.jpg')
    (tmp_path / 'val.txt').write_text(text)
    assert ImageDataset(str(tmp_path), 'val').labels == []


def test_a_label_that_is_none(tmp_path):
    save(tmp_path, 'val/0.jpg', 'val/1.jpg')
    (tmp_path / 'val.txt').write_text('0.jpg 1\n1.jpg -1\n')
    with refuses('file', str(tmp_path / 'val.txt')):
        ImageDataset(str(tmp_path), 'val')


def test_class_folders_need_no_list(tiny):
    (tiny / 'train.txt').write_text('n01_0.JPEG 7\n')
    assert ImageDataset(str(tiny), 'train').classes == WNIDS
