"""The fine-tuning view: timm's operations, drawn from the sample's own generator."""

import random

import numpy as np
import pytest
import torch
from timm.data import create_transform

from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms import FinetuneView
from mmssl.datasets.transforms.finetune_view import operations, seeded
from mmssl.models.preprocessor import ViewPreprocessor

FULL = dict(augment='rand-m9-mstd0.5-inc1', erase=1.0)


def item(image, seed=0, **more):
    return dict(image=image, index=0, rng=random.Random(seed), **more)


def states():
    return (
        random.getstate(),
        tuple(np.random.get_state()[1].tolist()),
        torch.get_rng_state().tolist(),
    )


def test_it_is_a_normalised_float_with_its_label(make_image):
    packed = FinetuneView(16, **FULL)(item(make_image(), label=2))
    assert packed['inputs'].shape == (3, 16, 16)
    assert packed['inputs'].dtype is torch.float32
    assert packed['data_samples'] == dict(index=0, label=2)


def test_the_same_generator_gives_the_same_view(make_image):
    view, image = FinetuneView(16, **FULL), make_image()
    first = view(item(image))['inputs']
    random.seed(7), np.random.seed(7), torch.manual_seed(7)  # global states do not matter
    assert torch.equal(view(item(image))['inputs'], first)
    assert not torch.equal(view(item(image, seed=1))['inputs'], first)


def test_it_leaves_the_global_generators_alone(make_image):
    before = states()
    FinetuneView(16, **FULL)(item(make_image()))
    assert states() == before


def test_the_generators_come_back_after_an_error():
    before = states()
    with pytest.raises(ZeroDivisionError), seeded(3):
        random.random(), np.random.rand(), torch.rand(1)
        raise ZeroDivisionError
    assert states() == before


def test_it_is_deits_transform(make_image):
    image, seed = make_image((70, 60)), random.Random(5).getrandbits(63)
    official = create_transform(
        input_size=32, is_training=True, color_jitter=0.3, auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic', re_prob=0.25, re_mode='pixel', re_count=1,
    )  # fmt: skip
    ours = FinetuneView(32, augment='rand-m9-mstd0.5-inc1', jitter=0.3, erase=0.25)
    with seeded(seed):
        expected = official(image)
    assert torch.equal(ours(item(image, seed=5))['inputs'], expected)


def test_without_augmentation_the_numbers_are_the_preprocessors(make_image):
    """A crop of everything at the image's size: both ways of normalising agree."""
    image = make_image((16, 16))
    plain = FinetuneView(16, scale=(1.0, 1.0), flip=0.0)
    views = [plain(item(image, seed))['inputs'] for seed in range(40)]
    bytes_ = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = ViewPreprocessor().normalize(bytes_)
    assert any(torch.allclose(view, expected, atol=1e-6) for view in views)


def test_erasing_fills_a_box_with_noise(make_image):
    image = make_image((64, 64))
    kept = FinetuneView(64)(item(image))['inputs']
    holed = FinetuneView(64, erase=1.0)(item(image))['inputs']
    changed = (kept != holed).all(0)  # (H, W)
    share = changed.float().mean().item()
    assert 0.015 < share < 0.36
    rows, columns = changed.any(1).sum(), changed.any(0).sum()
    assert rows * columns == changed.sum(), 'a rectangle'
    assert holed[:, changed].std() == pytest.approx(1, abs=0.2)


def test_flip_and_erasing_can_be_switched_off(make_image):
    image = make_image((30, 30))
    view = FinetuneView(16, scale=(1.0, 1.0), flip=0.0)
    assert all(type(t).__name__ != 'RandomHorizontalFlip' for t in view.transform.transforms)
    assert view(item(image))['inputs'].isfinite().all()


@pytest.mark.parametrize(
    ('augment', 'to_none'),
    [('rand-m10-inc1', True), ('rand-m0', True), ('v0', True), ('original', False)],
)
def test_every_operation_works_with_this_pillow(augment, to_none, make_image):
    """Posterizing to no bits at all is black; Pillow 13 raises."""
    image, view = make_image(), FinetuneView(16, augment=augment)
    black = 0
    for operation in operations(view.transform):
        operation.prob = 1.0
        for magnitude in (operation.magnitude, 0, 10):
            operation.magnitude = magnitude
            done = np.asarray(operation(image))
            assert done.shape == np.asarray(image).shape
            black += 'Posterize' in operation.name and not done.any()
    assert bool(black) is to_none


def test_views_do_not_depend_on_workers(image_folder):
    pipeline = [dict(type='LoadImage'), dict(type='FinetuneView', size=16, **FULL)]
    dataset = ImageDataset(str(image_folder), 'train', pipeline=pipeline)
    alone = torch.stack([dataset[1, i]['inputs'] for i in range(8)])
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=8, num_workers=2, sampler=[(1, i) for i in range(8)]
    )
    assert torch.equal(next(iter(loader))['inputs'], alone)
    assert not torch.equal(dataset[2, 0]['inputs'], alone[0]), 'another epoch, another view'
