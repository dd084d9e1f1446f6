"""Random views: the sampled parameters, and the pixels they give."""

import math
import random
from collections import Counter
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from mmssl.datasets.transforms import RandomView
from mmssl.datasets.transforms.random_view import ViewParams, sample_box

MOCO = dict(jitter=(0.4, 0.4, 0.2, 0.1), blur=0.3, solarize=0.2)
RATIO = (3 / 4, 4 / 3)


def box_by_numpy(width, height, scale, rng):
    """The rule in NumPy's float64 on the same stream of draws."""
    for _ in range(10):
        area = np.float64(width * height) * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(*np.log(RATIO)))
        w = int(np.rint(np.sqrt(area * aspect)))
        h = int(np.rint(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, width - w), rng.randint(0, height - h), w, h
    return None


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    low=st.floats(0.01, 1),
    seed=st.integers(0, 10**6),
)
def test_the_box_follows_the_rule(width, height, low, seed):
    x, y, w, h = sample_box(width, height, (low, 1.0), RATIO, random.Random(seed))
    assert x >= 0 <= y
    assert 0 < w <= width - x
    assert 0 < h <= height - y
    expected = box_by_numpy(width, height, (low, 1.0), random.Random(seed))
    if expected is not None:
        assert (x, y, w, h) == expected


@given(size=st.integers(40, 400), thin=st.integers(1, 10), tall=st.booleans())
def test_where_no_box_fits_it_is_torchvisions_centre(size, thin, tall):
    width, height = (thin, size) if tall else (size, thin)
    ours = sample_box(width, height, (1.0, 1.0), RATIO, random.Random(0))
    image = torch.empty(3, height, width)
    y, x, h, w = T.RandomResizedCrop.get_params(image, (1.0, 1.0), RATIO)
    assert ours == (x, y, w, h)


def test_an_image_that_always_fits_is_taken_whole():
    rng = random.Random(0)
    assert sample_box(50, 50, (1.0, 1.0), (1.0, 1.0), rng) == (0, 0, 50, 50)


def near(share, expected, n):
    """Whether a share of n draws is within 4 sigma."""
    return abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / n)


N = 2000


@pytest.fixture(scope='module')
def draws():
    view, rng = RandomView(**MOCO), random.Random(1)
    return [view.sample_params(300, 200, rng) for _ in range(N)]


def test_probabilities(draws):
    jittered = [d for d in draws if d.jitter]
    assert near(len(jittered) / N, 0.8, N)
    for name, share in (('flip', 0.5), ('gray', 0.2), ('solarize', 0.2)):
        assert near(sum(getattr(d, name) for d in draws) / N, share, N), name
    assert near(sum(d.blur is not None for d in draws) / N, 0.3, N)
    # independent of each other
    assert near(sum(d.flip and d.gray for d in draws) / N, 0.1, N)
    assert near(sum(bool(d.jitter) and d.solarize for d in draws) / N, 0.16, N)
    firsts = Counter(d.jitter[0][0] for d in jittered)
    for i in range(4):
        assert near(firsts[i] / len(jittered), 0.25, len(jittered))
    assert len({tuple(i for i, _ in d.jitter) for d in jittered}) == 24


def uniform(values, low, high):
    """Whether values fill [low, high]: range, mean and variance."""
    values, width = np.array(values), high - low
    n = len(values)
    assert low <= values.min() <= low + 12 * width / n
    assert high - 12 * width / n <= values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 4 * width / math.sqrt(12 * n)
    assert abs(values.var() / width**2 - 1 / 12) < 4 / math.sqrt(180 * n)


def test_ranges(draws):
    for i, (low, high) in enumerate(((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))):
        uniform([factor for d in draws for j, factor in d.jitter if j == i], low, high)
    uniform([d.blur for d in draws if d.blur is not None], 0.1, 2.0)


def test_boxes_cover_areas_and_ratios_evenly():
    """In an image so large that every try fits, but for rounding."""
    view, rng = RandomView(scale=(0.2, 0.5), gray=0), random.Random(2)
    boxes = np.array([view.sample_params(2000, 2000, rng).box for _ in range(N)], dtype=float)
    x, y, w, h = boxes.T
    uniform(w * h / 2000**2, 0.1995, 0.5005)
    uniform(np.log(w / h), math.log(0.749), math.log(1.335))
    uniform(x / (2000 - w), 0, 1)
    uniform(y / (2000 - h), 0, 1)


def test_strong_jitter_never_goes_below_black():
    view, rng = RandomView(jitter=(1.5, 0, 0, 0.5), jitter_p=1.0), random.Random(3)
    jitters = [view.sample_params(9, 9, rng).jitter for _ in range(500)]
    assert {i for j in jitters for i, _ in j} == {0, 3}  # operations of strength 0 are left out
    uniform([f for j in jitters for i, f in j if i == 0], 0, 2.5)


def test_certain_and_impossible_operations():
    rng = random.Random(4)
    sure = RandomView(flip=1.0, gray=1.0, blur=1.0, solarize=1.0, jitter=(0.1,) * 4, jitter_p=1.0)
    never = RandomView(flip=0.0, gray=0.0, jitter=(0.1,) * 4, jitter_p=0.0)
    for _ in range(50):
        d = sure.sample_params(9, 9, rng)
        assert all((d.flip, d.gray, d.solarize, d.jitter, d.blur))
        d = never.sample_params(9, 9, rng)
        assert (d.flip, d.gray, d.solarize, d.jitter, d.blur) == (False, False, False, (), None)


# pixels -------------------------------------------------------------------------------------------
FULL = ViewParams(
    box=(5, 3, 40, 31),
    flip=True,
    jitter=((3, -0.07), (0, 1.3), (2, 0.85), (1, 0.7)),
    gray=False,
    blur=1.2,
    solarize=True,
)


def same(a, b, tolerance=0):
    a, b = np.asarray(a).astype(int), np.asarray(b).astype(int)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance


@pytest.mark.parametrize('name', ['bilinear', 'bicubic', 'nearest'])
def test_the_crop_is_torchvisions_random_resized_crop(make_image, name):
    image = make_image((60, 45))
    x, y, w, h = FULL.box
    with mock.patch.object(T.RandomResizedCrop, 'get_params', lambda *_: (y, x, h, w)):
        expected = T.RandomResizedCrop(24, interpolation=T.InterpolationMode(name))(image)
    same(
        RandomView(24, interpolation=name).apply(image, ViewParams(FULL.box, flip=False), 'exact'),
        expected,
    )


@pytest.mark.parametrize('order', [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_the_colours_are_torchvisions_color_jitter(make_image, order):
    image = make_image((24, 24))
    factors = (1.35, 0.65, 1.15, -0.08)
    with mock.patch.object(T.ColorJitter, 'get_params', lambda *_: (torch.tensor(order), *factors)):
        expected = T.ColorJitter(0.4, 0.4, 0.2, 0.1)(image)
    drawn = ViewParams((0, 0, 24, 24), flip=False, jitter=tuple((i, factors[i]) for i in order))
    same(RandomView(24).apply(image, drawn, 'exact'), expected)


def official(image, d, size, flip_first, gray):
    """MoCo v3's ``main_moco.py`` order, written with torchvision and Pillow."""
    x, y, w, h = d.box
    image = TF.resized_crop(image, y, x, h, w, [size, size])
    if flip_first:
        image = TF.hflip(image)
    adjust = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    for i, factor in d.jitter:
        image = adjust[i](image, factor)
    if gray:
        image = TF.rgb_to_grayscale(image, 3)
    image = image.filter(ImageFilter.GaussianBlur(radius=d.blur))
    image = ImageOps.solarize(image, threshold=128)
    return image if flip_first else TF.hflip(image)


@pytest.mark.parametrize('gray', [False, True])
def test_a_whole_view_is_the_official_sequence(make_image, gray):
    image = make_image((60, 45))
    drawn = replace(FULL, gray=gray)
    ours = RandomView(24).apply(image, drawn, 'exact')
    same(ours, official(image, drawn, 24, True, gray))
    # recipes that flip last agree: all colour operations commute with it
    same(ours, official(image, drawn, 24, False, gray), tolerance=1)


def test_gray_first_is_moco_v1s_order(make_image):
    image = make_image((24, 24))
    drawn = ViewParams((0, 0, 24, 24), flip=False, jitter=((3, 0.1), (0, 1.4)), gray=True)
    late, early = (
        RandomView(24).apply(image, replace(drawn, gray_first=g), 'exact') for g in (False, True)
    )
    grey = TF.rgb_to_grayscale(image, 3)
    same(early, TF.adjust_brightness(TF.adjust_hue(grey, 0.1), 1.4))
    jittered = TF.adjust_brightness(TF.adjust_hue(image, 0.1), 1.4)
    same(late, TF.rgb_to_grayscale(jittered, 3))
    assert np.abs(np.asarray(late).astype(int) - np.asarray(early)).max() > 3


def test_solarize_inverts_from_128():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert('RGB')
    done = RandomView(16).apply(
        ramp, ViewParams((0, 0, 16, 16), flip=False, solarize=True), 'exact'
    )
    values = np.asarray(done)[..., 0].ravel()
    assert values.tolist() == [v if v < 128 else 255 - v for v in range(256)]
