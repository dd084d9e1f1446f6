"""Views by OpenCV and by the device equal Pillow's for the same sampled parameters."""

import io
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.datasets.encoded_image import EncodedImage
from mmssl.datasets.transforms import MultiView, RandomView, TrainView
from mmssl.datasets.transforms.opencv_backend import reduction
from mmssl.datasets.transforms.view_params import ViewParams
from mmssl.functional.color import apply_color
from mmssl.models.preprocessor import ViewPreprocessor

NEAR, LOOSE = 2.0, 3.0  # mean difference in grey levels of 255; the second for hue and blur
WHOLE = (0, 0, 96, 96)
RECIPES = {
    'mocov3': dict(jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, solarize=0.2),
    'esvit': dict(jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, interpolation='bicubic'),
    'swav': dict(jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5),
    'mocov1': dict(jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, gray_first=True),
}


@pytest.fixture(scope='module')
def photos(make_image):
    """Images with smooth parts, edges and noise."""
    found = []
    for seed in range(6):
        image = np.asarray(make_image((96, 96), seed)).copy()
        image[20 + seed : 50, 30:70] = image[20 + seed : 50, 30:70] // 3 + 100
        found.append(Image.fromarray(image))
    return found


def on_device(image, drawn):
    """Colour one image as a batch of one."""
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    painted = apply_color(x, torch.tensor([drawn.color_params()]))
    return painted.round()[0].permute(1, 2, 0).numpy()


MAKERS = {
    'fast': lambda image, drawn: RandomView(96).apply(image, drawn),
    'device': on_device,
}
FACTORS = {0: (0.2, 0.6, 1.4, 1.8), 1: (0.2, 0.6, 1.4, 1.8), 2: (0.2, 0.8, 1.4, 1.8)}
FACTORS[3] = (-0.4, -0.1, 0.05, 0.2)
SINGLE = {
    **{f'step {i} by {f}': dict(jitter=((i, f),)) for i, fs in FACTORS.items() for f in fs},
    **{f'blur {s}': dict(blur=s) for s in (0.1, 0.3, 0.5, 1.0, 1.5, 2.0)},
    'gray': dict(gray=True),
    'solarize': dict(solarize=True),
    'nothing': {},
}


@pytest.mark.parametrize('maker', MAKERS)
@pytest.mark.parametrize('name', SINGLE)
def test_each_operation_is_near_pillows(photos, name, maker):
    drawn = ViewParams(WHOLE, flip=False, **SINGLE[name])
    limit = LOOSE if 'blur' in name or 'step 3' in name else NEAR
    for image in photos:
        exact = RandomView(96).apply(image, drawn, 'exact').astype(int)
        ours = MAKERS[maker](image, drawn).astype(int)
        difference = np.abs(ours - exact)
        assert difference.mean() <= (0 if name == 'nothing' else limit)
        # and it is no blend of both: the operation did something of its own
        if name not in ('nothing', 'blur 0.1', 'blur 0.3'):
            assert np.abs(exact - np.asarray(image)).mean() > 2 * difference.mean()


@pytest.mark.parametrize('size', [32, 64, 96, 150])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'nearest'])
def test_crops_are_near_pillows(photos, size, interpolation):
    view = RandomView(size, interpolation=interpolation)
    for box in (WHOLE, (11, 7, 50, 61), (3, 60, 90, 30), (40, 40, 9, 12)):
        for flip in (False, True):
            drawn = ViewParams(box, flip)
            exact, ours = (view.apply(photos[0], drawn, p).astype(int) for p in ('exact', 'fast'))
            difference = np.abs(exact - ours)
            assert difference.mean() <= (0.02 if interpolation == 'bicubic' else 0.3)
            assert difference.max() <= 2


@pytest.mark.parametrize('recipe', RECIPES)
def test_whole_views_are_near_pillows(photos, recipe):
    view, rng, worst = RandomView(48, **RECIPES[recipe]), random.Random(3), []
    for image in photos * 10:
        drawn = view.sample_params(96, 96, rng)
        exact = view.apply(image, drawn, 'exact').astype(int)
        ours = view.apply(image, drawn).astype(int)
        cropped = view.apply(image, drawn, 'device')
        device = on_device(Image.fromarray(cropped), drawn)
        worst.append([np.abs(exact - o).mean() for o in (ours, device)])
    assert np.mean(worst) < 1.5
    assert np.max(worst) < 6  # several operations of a strong jitter add up


def test_a_batch_on_the_device_is_its_images_one_by_one(photos):
    view, rng = RandomView(48, **RECIPES['swav'], solarize=0.3), random.Random(8)
    drawn = [view.sample_params(96, 96, rng) for _ in range(24)]
    images = [view.apply(photos[i % 6], d, 'device') for i, d in enumerate(drawn)]
    batch = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in images])
    painted = apply_color(batch.float(), torch.tensor([d.color_params() for d in drawn]))
    for i, d in enumerate(drawn):
        alone = apply_color(batch[i : i + 1].float(), torch.tensor([d.color_params()]))
        torch.testing.assert_close(painted[i : i + 1], alone, rtol=0, atol=5e-3)


def test_the_preprocessor_paints_what_left_the_workers_plain(photos):
    views = [dict(type='RandomView', size=48, **RECIPES['mocov3'])] * 2
    made = {}
    for pixels in ('fast', 'device'):
        transform = MultiView(views, pixels=pixels)
        items = [transform(dict(image=p, rng=random.Random(i))) for i, p in enumerate(photos)]
        batch = torch.utils.data.default_collate(items)
        assert ('color_params' in batch['data_samples']) == (pixels == 'device')
        done = ViewPreprocessor()(batch)
        assert set(done['data_samples']) == {'box'}
        made[pixels] = done['inputs']
    for fast, device in zip(*made.values(), strict=True):
        levels = 255 * 0.226 * (fast - device).abs().mean((1, 2, 3))
        assert levels.mean() < 1.5 and levels.max() < 6


@pytest.mark.parametrize('recipe', RECIPES)
def test_the_record_says_the_order(recipe):
    view, rng = RandomView(**RECIPES[recipe]), random.Random(1)
    firsts = Counter()
    for _ in range(2000):
        drawn = view.sample_params(300, 200, rng)
        row = drawn.color_params()
        assert [int(n) for n in row[:5] if n >= 0] == [n for n, _ in drawn.color_ops]
        assert row[5 : 5 + len(drawn.color_ops)] == [value for _, value in drawn.color_ops]
        assert row[10:] == [drawn.blur or 0.0, float(drawn.solarize)]
        if drawn.gray:
            place = 0 if recipe == 'mocov1' else len(drawn.color_ops) - 1
            assert drawn.color_ops[place][0] == 4
        firsts[tuple(n for n, _ in drawn.jitter)] += 1
    orders = {o: n for o, n in firsts.items() if o}
    assert len(orders) == 24
    expected = sum(orders.values()) / 24
    # chi square of 23 degrees of freedom: below 49.7 in 999 of 1000
    assert sum((n - expected) ** 2 / expected for n in orders.values()) < 49.7


def test_the_published_distribution_holds_whoever_makes_the_pixels(photos):
    """Draws come before pixels, so all three modes have the same."""
    views = [dict(type='RandomView', size=16, **RECIPES['mocov3'])]
    boxes = [
        [
            MultiView(views, pixels=p)(dict(image=photos[0], rng=random.Random(i)))['data_samples'][
                'box'
            ]
            for i in range(40)
        ]
        for p in ('fast', 'exact', 'device')
    ]
    assert torch.equal(torch.stack(boxes[0]), torch.stack(boxes[1]))
    assert torch.equal(torch.stack(boxes[0]), torch.stack(boxes[2]))


# reduced-size decoding ----------------------------------------------------------------------------
def jpeg(make_image, size):
    buffer = io.BytesIO()
    make_image((12, 9)).resize(size, Image.Resampling.BICUBIC).save(buffer, 'JPEG', quality=95)
    return buffer.getvalue()


def test_a_jpeg_is_reduced_only_when_every_crop_allows_it():
    def allowed(*boxes, sizes=(100, 50)):
        return reduction([ViewParams((0, 0, *b), flip=False) for b in boxes], list(sizes))

    assert allowed((400, 400), (200, 200)) == 4
    assert allowed((399, 400), (200, 200)) == 2
    assert allowed((400, 400), (99, 200)) == 1
    assert allowed((199, 900), (900, 900)) == 1
    assert allowed((900, 900), (900, 900)) == 8


@pytest.mark.parametrize('scale', [(0.6, 1.0), (0.05, 0.14)])
def test_reduced_views_are_near_whole_ones(make_image, scale, monkeypatch):
    content = jpeg(make_image, (640, 480))
    views = [dict(type='RandomView', size=32, scale=scale, gray=0.0)] * 2
    asked = []
    pixels = EncodedImage.pixels
    monkeypatch.setattr(
        EncodedImage, 'pixels', lambda self, r=1: (asked.append(r), pixels(self, r))[1]
    )
    for seed in range(12):
        made = [
            MultiView(views, pixels=p)(dict(image=EncodedImage(content), rng=random.Random(seed)))
            for p in ('fast', 'exact')
        ]
        for ours, exact in zip(made[0]['inputs'], made[1]['inputs'], strict=True):
            assert (ours.int() - exact.int()).abs().float().mean() < NEAR
    assert len(asked) == 12, 'decoded once for both views, and never reduced when exact'
    assert max(asked) == (8 if scale[1] == 1 else 4)


def test_every_image_is_decoded_once(make_image, monkeypatch):
    count = Counter()
    image = EncodedImage(jpeg(make_image, (64, 48)))
    pixels = EncodedImage.pixels
    monkeypatch.setattr(
        EncodedImage, 'pixels', lambda self, r=1: (count.update([r]), pixels(self, r))[1]
    )
    MultiView([dict(type='RandomView', size=32, repeat=10)])(
        dict(image=image, rng=random.Random(0))
    )
    assert count == {1: 1}


def test_linear_probes_see_the_same_crop(photos):
    made = [
        TrainView(32, pixels=p)(dict(image=photos[1], rng=random.Random(5)))['inputs'].int()
        for p in ('fast', 'exact')
    ]
    assert (made[0] - made[1]).abs().float().mean() < 0.3
