"""Images with masks, in ImageNet-S's layout and encoding."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms import SegmentTestView, SegmentTrainView

from ..helpers.imagenet_s import encode, write
from ..helpers.refusals import refuses

SOURCE = dict(type='ImageNetSSource')
TRAIN = [dict(type='LoadImage'), dict(type='SegmentTrainView', size=16)]


@pytest.fixture
def root(tmp_path):
    return write(tmp_path)


def images(root, split='train-semi', pipeline=(), **options):
    return ImageDataset(str(root), split, source=dict(SOURCE, **options), pipeline=pipeline)


def mask_path(root, i=1, split='train-semi'):
    return root / f'{split}-segmentation/n02/n02_{i}.png'


def test_masks_are_decoded_and_classes_count_from_one(root):
    data = images(root)
    assert data.classes == ('other', 'n01', 'n02', 'n03')
    assert data.labels == [1] * 4 + [2] * 4 + [3] * 4
    expected = torch.zeros(30, 37, dtype=torch.int64)  # n02_1
    expected[:, 18:] = 2
    expected[:2] = 1000  # R 232, G 3
    assert data.name(5).endswith('train-semi/n02/n02_1.JPEG')
    assert torch.equal(data.source.target(5), expected)
    assert images(root, with_label=False).classes == ()


@pytest.mark.parametrize('pixels', ['exact', 'fast'])
def test_image_and_mask_are_cropped_alike(pixels):
    """A image that shows its own mask: red is the class."""
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 4, (5, 6)).repeat(20, 0).repeat(20, 1)  # (100, 120)
    shown = np.zeros((100, 120, 3), np.uint8)
    shown[..., 0] = 60 * classes
    view = SegmentTrainView(
        50, pixels, scale=(0.3, 1.0), interpolation='nearest', jitter=None, gray=0.0
    )
    flips = set()
    for seed in range(20):
        item = dict(image=Image.fromarray(shown), label=torch.from_numpy(classes), path='a')
        found = view(dict(item, rng=random.Random(seed)))
        flips.add(view.sample_params(120, 100, random.Random(seed)).flip)
        label = found['data_samples']['label']
        assert label.shape == (50, 50) and label.dtype is torch.int64
        assert torch.equal(found['inputs'][0], (60 * label).to(torch.uint8))
    assert flips == {True, False}


def test_a_whole_view_has_the_short_side_and_the_whole_mask(make_image):
    mask = torch.zeros(30, 40, dtype=torch.int64)
    item = dict(image=make_image((40, 30)), label=mask, path='a')
    found = SegmentTestView(12)(item)
    assert found['inputs'].shape == (3, 12, 16)
    assert found['data_samples']['label'] is mask
    expected = make_image((40, 30)).resize((16, 12), Image.Resampling.BILINEAR)
    assert torch.equal(found['inputs'].permute(1, 2, 0), torch.from_numpy(np.array(expected)))


def test_images_without_a_mask_are_named_before_anything_runs(root):
    mask_path(root).unlink()
    with refuses('folder', str(root / 'train-semi-segmentation')) as caught:
        images(root)
    assert f'1 of 12 images have no mask: {root}/train-semi/n02/n02_1.JPEG;' in str(caught.value)


def test_a_class_above_the_folders_is_named(root):
    encode(np.full((30, 37), 4)).save(mask_path(root))
    with refuses('file', str(mask_path(root))) as caught:
        images(root, pipeline=TRAIN)[5]
    assert 'class 4' in str(caught.value) and '3 class folders' in str(caught.value)


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA'])
def test_a_mask_of_another_kind_is_refused(root, mode):
    Image.new(mode, (37, 30), 1).save(mask_path(root))
    with refuses('file', str(mask_path(root))):
        images(root).source.target(5)


@pytest.mark.parametrize('damage', ['size', 'broken'])
def test_one_bad_mask_costs_one_image_and_is_told(root, damage):
    if damage == 'size':
        encode(np.full((30, 30), 2)).save(mask_path(root))
        cause = 'n02_1.JPEG: 37 x 30 pixels, but its mask has 30 x 30'
    else:
        mask_path(root).write_bytes(b'no picture')
        cause = 'n02_1.png: not an image'
    found = images(root, pipeline=TRAIN)[5]
    assert cause in found['data_samples']['unreadable']
    assert found['data_samples']['label'].shape == (16, 16)
