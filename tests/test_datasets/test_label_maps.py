"""Images with label maps: layouts, masks, numbers of classes."""

import json

import numpy as np
import pytest
from PIL import Image

from mmssl.core.errors import NoData
from mmssl.datasets import ImageDataset
from mmssl.datasets.sources.base import UnreadableImage
from mmssl.datasets.sources.label_maps import (
    IGNORED,
    LabelMapSource,
    decode_runs,
    label_map_layout,
)

from ..helpers.images import make_image
from ..helpers.refusals import refuses

MASK = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)


def save(root, image, labels, values=MASK):
    for path in (image, labels):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    make_image((3, 2)).save(root / image)
    Image.fromarray(values).save(root / labels)


def folders(root):
    for split, count in (('train', 5), ('val', 2), ('test', 1)):
        for i in range(count):
            save(root, f'images/{split}/{i}.png', f'labels/{split}/{i}.png')


def voc(root):
    (root / 'ImageSets' / 'Segmentation').mkdir(parents=True)
    for split, names in (('train', 'a b'), ('val', 'c')):
        (root / 'ImageSets/Segmentation' / f'{split}.txt').write_text(names.replace(' ', '\n'))
    for name in 'abc':
        save(root, f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png')
    for path in (root / 'SegmentationClass').iterdir():
        image = Image.open(path)
        image.putpalette([*range(256)] * 3)
        image.save(path)


def ade(root):
    for split in ('training', 'validation'):
        values = np.where(MASK == IGNORED, 0, MASK).astype(np.uint8)
        save(root, f'images/{split}/x.jpg', f'annotations/{split}/x.png', values)


def coco(root):
    (root / 'images').mkdir()
    make_image((3, 2)).save(root / 'images' / 'p.jpg')
    annotations = [
        # down the columns: 0 0 | 1 0 | 1 1
        dict(image_id=7, category_id=4, segmentation=dict(counts=[2, 1, 1, 2], size=[2, 3])),
    ]
    content = dict(
        images=[dict(id=7, file_name='p.jpg', height=2, width=3)],
        annotations=annotations,
        categories=[dict(id=2, name='cat'), dict(id=4, name='person')],
    )
    for split in ('train', 'val'):
        (root / f'{split}.json').write_text(json.dumps(content))


EXPECTED = {
    folders: ('folders', ('train', 'test'), MASK, ('0', '1', '2')),
    voc: ('voc', ('train', 'val'), MASK, 21),
    ade: ('ade20k', ('training', 'validation'), [[255, 0, 1], [1, 255, 0]], ('0', '1')),
    coco: ('coco', ('train', 'val'), [[0, 2, 2], [0, 0, 2]], ('background', 'cat', 'person')),
}


@pytest.mark.parametrize('write', EXPECTED, ids=lambda w: w.__name__)
def test_each_layout_gives_masks_and_classes(write, tmp_path):
    write(tmp_path)
    name, splits, mask, classes = EXPECTED[write]
    assert label_map_layout(tmp_path) == (name, splits)
    source = LabelMapSource(str(tmp_path), splits[0])
    assert source.target(0).tolist() == np.asarray(mask).tolist()
    assert (len(source.classes) if isinstance(classes, int) else source.classes) == classes


def test_an_item_has_its_view_and_its_mask(tmp_path):
    folders(tmp_path)
    images = ImageDataset(
        str(tmp_path),
        'train',
        source=dict(type='LabelMapSource', most=2),
        pipeline=[dict(type='LoadImage'), dict(type='SquashView', size=16)],
    )
    assert [images.name(i)[-11:] for i in range(len(images))] == ['train/0.png', 'train/2.png']
    item = images[1]
    assert item['inputs'].shape == (3, 16, 16)
    assert item['data_samples']['label'].tolist() == MASK.tolist()
    expected = Image.open(images.name(1)).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(item['inputs'].permute(1, 2, 0).numpy(), np.asarray(expected))


def test_runs_in_text_are_those_in_numbers():
    # texts are pycocotools' 2.0.11
    assert decode_runs('122O03', 4, 3).tolist() == decode_runs([1, 2, 2, 1, 2, 4], 4, 3).tolist()
    # long runs and differences below 0 take several characters
    numbers = [100, 900, 3, 40, 957]
    mask = decode_runs('T3Tl03TUOjm0', 50, 40)
    assert mask.tolist() == decode_runs(numbers, 50, 40).tolist()
    assert mask.sum() == 940 and mask.T.ravel()[99:101].tolist() == [False, True]


def test_what_is_no_such_layout_is_refused(tmp_path):
    with refuses('folder', str(tmp_path), NoData):
        LabelMapSource(str(tmp_path))
    folders(tmp_path)
    with refuses('split', 'other', NoData):
        LabelMapSource(str(tmp_path), 'other')
    lonely = tmp_path / 'labels' / 'train' / '9.png'
    Image.fromarray(MASK).save(lonely)
    with refuses('file', str(lonely)):
        LabelMapSource(str(tmp_path), 'train')


def test_maps_of_colours_and_polygons_are_refused(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    folders(tmp_path / 'a')
    path = tmp_path / 'a' / 'labels' / 'train' / '0.png'
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(path)
    with refuses('file', str(path)):
        LabelMapSource(str(tmp_path / 'a'), 'train')
    coco(tmp_path / 'b')
    listed = tmp_path / 'b' / 'train.json'
    content = json.loads(listed.read_text())
    content['annotations'][0]['segmentation'] = [[0, 0, 1, 1, 0, 1]]
    listed.write_text(json.dumps(content))
    with refuses('segmentation', 'polygon'):
        LabelMapSource(str(tmp_path / 'b'), 'train').target(0)
    listed.write_text('[]')
    with refuses('file', str(listed)):
        LabelMapSource(str(tmp_path / 'b'), 'train')


@pytest.mark.parametrize(
    'change',
    [
        lambda c: c['annotations'][0].update(category_id=9),
        lambda c: c['images'][0].pop('width'),
        lambda c: c['annotations'][0].pop('segmentation'),
    ],
    ids=['category', 'width', 'mask'],
)
def test_lists_that_lack_something_are_refused(tmp_path, change):
    coco(tmp_path)
    listed = tmp_path / 'train.json'
    content = json.loads(listed.read_text())
    change(content)
    listed.write_text(json.dumps(content))
    with refuses('file', str(listed)):
        LabelMapSource(str(tmp_path), 'train')


@pytest.mark.parametrize('counts', [[2, 1], [7, -1], 'zz', None], ids=str)
def test_runs_that_do_not_fill_the_image_are_unreadable(tmp_path, counts):
    coco(tmp_path)
    listed = tmp_path / 'train.json'
    content = json.loads(listed.read_text())
    content['annotations'][0]['segmentation']['counts'] = counts
    listed.write_text(json.dumps(content))
    with refuses('file', str(tmp_path / 'images' / 'p.jpg'), UnreadableImage):
        LabelMapSource(str(tmp_path), 'train').target(0)


def test_numbers_above_the_classes_are_refused(tmp_path):
    voc(tmp_path)
    Image.fromarray(np.full((2, 3), 21, np.uint8)).save(tmp_path / 'SegmentationClass' / 'b.png')
    source = LabelMapSource(str(tmp_path), 'train')
    assert source.target(0).max() == IGNORED
    with refuses('file', str(tmp_path / 'JPEGImages' / 'b.jpg')):
        source.target(1)
