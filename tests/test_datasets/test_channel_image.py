"""Images of one to many channels and of 16 bits keep them, from the file to the view."""

import io
import sys

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from mmssl.core.color_ops import ColorOp
from mmssl.datasets import ImageDataset
from mmssl.datasets.channel_image import MAX_CHANNELS, ChannelImage, channel_values
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.transforms import CenterView, LoadImage, opencv_backend
from mmssl.datasets.transforms.view_params import ViewParams

from ..helpers.channels import MULTI, VIEW, pixels, write_folder
from ..helpers.images import make_image
from ..helpers.refusals import refuses

DEPTHS = (np.uint8, np.uint16)


def tiff(values, **settings):
    file = io.BytesIO()
    tifffile.imwrite(file, values, **settings)
    return file.getvalue()


def bands(values, **settings):
    """Return pixels (H, W, C) as a TIFF of bands; of one band there is one way to write it."""
    planar = dict(planarconfig='contig') if values.shape[2] > 1 else {}
    return tiff(values, photometric='minisblack', **planar, **settings)


def file_of(image, form='PNG', **settings):
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


# files --------------------------------------------------------------------------------------------
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize('layout', ['bands', 'planes', 'pages', 'deflated'])
def test_tiffs_of_every_layout(channels, layout, dtype):
    values = pixels(channels).astype(dtype)
    if layout == 'bands':
        data = bands(values)
    elif layout == 'planes':
        planar = dict(planarconfig='separate') if channels > 1 else {}
        data = tiff(values.transpose(2, 0, 1), photometric='minisblack', **planar)
    elif layout == 'pages':
        data = tiff(values.transpose(2, 0, 1), photometric='minisblack')
    else:
        data = bands(values, compression='zlib', tile=(16, 16))
    np.testing.assert_array_equal(channel_values(data), values)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'RGB', 'RGBA', 'P', 'CMYK', 'I;16', 'I', 'F'])
@pytest.mark.parametrize('form', ['PNG', 'TIFF', 'JPEG', 'WEBP', 'BMP'])
def test_files_of_pillow(mode, form):
    known = {
        'PNG': ('1', 'L', 'LA', 'RGB', 'RGBA', 'P', 'I;16'),
        'TIFF': ('1', 'L', 'LA', 'RGB', 'RGBA', 'P', 'CMYK', 'I;16', 'I', 'F'),
        'JPEG': ('L', 'RGB', 'CMYK'),
        'WEBP': ('RGB',),
        'BMP': ('1', 'L', 'RGB', 'P'),
    }
    if mode not in known[form]:
        return
    grey = np.asarray(make_image().convert('L'))
    if mode in ('I;16', 'I', 'F'):
        kind = dict(zip(('I;16', 'I', 'F'), (np.uint16, np.int32, np.float32), strict=True))[mode]
        image = Image.fromarray(grey.astype(kind) * 200)
    else:
        image = make_image().convert(mode)
    data = file_of(image, form, **(dict(lossless=True) if form == 'WEBP' else {}))
    found = channel_values(data)
    opened = Image.open(io.BytesIO(data))
    shown = opened.convert({'1': 'L', 'P': 'RGB'}.get(mode, opened.mode))
    expected = np.asarray(shown).reshape(*found.shape)
    np.testing.assert_array_equal(found, expected)
    counts = {'LA': 2, 'RGB': 3, 'P': 3, 'RGBA': 4, 'CMYK': 4}
    assert found.shape[2] == counts.get(mode, 1)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_pngs_of_16_bits(channels):
    values = pixels(channels) * 7
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    data = cv2.imencode('.png', values[..., order])[1].tobytes()
    np.testing.assert_array_equal(channel_values(data), values)


def test_a_range_becomes_16_bits_and_none_keeps_8():
    values = pixels(5)
    found = LoadImage(channels=5, value_range=(100, 4000)).open(bands(values), 'a').pixels()
    expected = np.rint(65535 * ((values - 100.0) / 3900).clip(0, 1))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)
    small = (values // 16).astype(np.uint8)
    plain = LoadImage(channels=5).open(bands(small), 'a')
    np.testing.assert_array_equal(plain.pixels(), small)
    assert plain.size == (24, 20)


UNREADABLE = {
    'another number of channels': (file_of(make_image()), dict(channels=5), '3 channels'),
    'grey among colours': (file_of(make_image().convert('L')), dict(channels=3), '1 channels'),
    '16 bits without a range': (bands(pixels(5)), dict(channels=5), 'value_range'),
    'a cut file': (bands(pixels(5))[:900], dict(channels=5, value_range=(0, 1)), ''),
    'two kinds of pages': (None, dict(channels=1), '2 images'),
    'a volume of colours': (tiff(np.zeros((4, 9, 8, 3), np.uint8)), dict(channels=3), 'axes'),
    'too many pixels': (bands(np.zeros((30, 30, 5), np.uint8)),
                        dict(channels=5, max_pixels=800), 'max_pixels=800'),
    'complex numbers': (tiff(np.zeros((9, 9), np.complex64)), dict(channels=1), 'complex64'),
    'a cut JPEG': (file_of(make_image((99, 99)), 'JPEG')[:-400], dict(channels=3), 'truncated'),
    'no image': (b'II*\0nothing', dict(channels=5), ''),
}  # fmt: skip


@pytest.mark.parametrize(('data', 'settings', 'fact'), UNREADABLE.values(), ids=UNREADABLE)
def test_files_that_are_replaced(data, settings, fact):
    if data is None:
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(np.zeros((9, 9), np.uint8))
            writer.write(np.zeros((7, 8), np.uint8))
        data = file.getvalue()
    with refuses('file', 'x.tif', UnreadableImage) as caught:
        LoadImage(**settings).open(data, 'x.tif')
    assert fact in str(caught.value)


def test_bands_without_tifffile(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    five = bands(pixels(5).astype(np.uint8))
    with refuses('file', 'x.tif', UnreadableImage) as caught:
        LoadImage(channels=5).open(five, 'x.tif')
    assert 'pip install tifffile' in str(caught.value)
    grey = pixels(1)[..., 0]
    found = LoadImage(channels=1, value_range=(0, 65535)).open(tiff(grey), 'x.tif')
    np.testing.assert_array_equal(found.pixels()[..., 0], grey)


# views --------------------------------------------------------------------------------------------
def params(**settings):
    return ViewParams((2, 3, 18, 16), True, **settings)


def view_of(values, given):
    cropped = opencv_backend.crop(values, given, 12, 'bicubic')
    return opencv_backend.apply_color(cropped, given)


@pytest.mark.parametrize('dtype', DEPTHS)
@pytest.mark.parametrize('channels', [1, 2, 4, 5, 13])
def test_each_channel_is_viewed_as_if_alone(channels, dtype):
    """Crop, flip, brightness, blur and solarise know no other channel."""
    values = (pixels(channels) // (1 if dtype == np.uint16 else 16)).astype(dtype)
    given = params(jitter=((ColorOp.BRIGHTNESS, 1.3),), blur=0.8, solarize=True)
    found = view_of(values, given)
    assert (found.shape, found.dtype) == ((12, 12, channels), dtype)
    for i in range(channels):
        alone = view_of(values[..., i : i + 1], given)[..., 0]
        np.testing.assert_array_equal(found[..., i], alone)


@pytest.mark.parametrize('factor', [0.5, 1.4])
def test_contrast_blends_with_the_mean_of_all_channels(factor):
    values = pixels(5)
    found = opencv_backend.apply_color(values, params(jitter=((ColorOp.CONTRAST, factor),)))
    expected = (factor * values + (1 - factor) * values.mean()).clip(0, 65535)
    assert np.abs(found - expected).max() <= 1


OPS = [(ColorOp.BRIGHTNESS, 1.3), (ColorOp.CONTRAST, 0.6), (ColorOp.SATURATION, 1.5),
       (ColorOp.HUE, 0.15), (ColorOp.GRAY, 1.0)]  # fmt: skip


@pytest.mark.parametrize('op', OPS, ids=lambda op: op[0].name)
def test_colours_of_16_bits_are_those_of_8(op):
    """To the rounding of 8 bits; hue has 256 steps there."""
    eight = np.asarray(make_image())
    given = params(jitter=(op,), blur=0.7, solarize=True)
    found = opencv_backend.apply_color(eight.astype(np.uint16) * 257, given) / 257
    expected = opencv_backend.apply_color(eight, given)
    differences = np.abs(found - expected)
    assert differences.mean() < (3 if op[0] == ColorOp.HUE else 1)


@pytest.mark.parametrize('size', [(40, 30), (30, 41), (16, 16)])
def test_the_centre_is_that_of_pillow(size):
    image = make_image(size)
    view = CenterView(size=14)
    data = file_of(image)
    ours = view(dict(image=LoadImage(channels=3).open(data, '')))['inputs']
    theirs = view(dict(image=LoadImage().open(data, '')))['inputs']
    assert ours.shape == theirs.shape == (3, 14, 14)
    assert (ours.int() - theirs.int()).abs().float().mean() < 1


def test_rgb_of_8_bits_has_the_same_views(image_folder):
    view = dict(type='RandomView', size=12, jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5)
    for way in ('fast', 'exact'):
        multi = dict(type='MultiView', views=[view], pixels=way)
        kept, plain = (
            ImageDataset(str(image_folder), 'train', pipeline=[load, multi])
            for load in (dict(type='LoadImage', channels=3), dict(type='LoadImage'))
        )
        for i in range(0, 24, 5):
            assert torch.equal(kept[1, i]['inputs'][0], plain[1, i]['inputs'][0])


def test_items_of_five_channels(tmp_path):
    root = write_folder(tmp_path, 5)
    load = dict(type='LoadImage', channels=5, value_range=(0, 4095))
    data = ImageDataset(str(root), 'train', pipeline=[load, MULTI])
    item = data[2, 3]
    assert [(v.shape, v.dtype) for v in item['inputs']] == [((5, 16, 16), torch.uint16)] * 2
    assert all(torch.equal(a, b) for a, b in zip(item['inputs'], data[2, 3]['inputs'], strict=True))


COLOURS = {
    'hue': (dict(VIEW, jitter=(0.4, 0.4, 0, 0.1)), 'jitter', (0.4, 0.4, 0, 0.1)),
    'saturation': (dict(VIEW, jitter=(0.4, 0.4, 0.2, 0)), 'jitter', (0.4, 0.4, 0.2, 0)),
    'gray': (dict(VIEW, gray=0.2), 'gray', 0.2),
}


@pytest.mark.parametrize(('view', 'key', 'value'), COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize('channels', [1, 5])
def test_colours_that_only_rgb_has(image_folder, view, key, value, channels, request):
    for pipeline in ([dict(type='MultiView', views=[view])], [dict(view, type='TrainView')]):
        load = dict(type='LoadImage', channels=channels)
        with refuses(key, value) as caught:
            ImageDataset(str(image_folder), 'train', pipeline=[load, *pipeline])
        assert request.node.callspec.id.split('-')[-1] in str(caught.value)


@pytest.mark.parametrize(
    ('step', 'key', 'value'),
    [
        (dict(MULTI, pixels='exact'), 'pixels', 'exact'),
        (dict(MULTI, pixels='device'), 'pixels', 'device'),
        (dict(type='TrainView', jitter=None, pixels='exact'), 'pixels', 'exact'),
        (dict(type='FinetuneView'), 'dataset.pipeline', 'FinetuneView'),
        (dict(type='SegmentTrainView'), 'dataset.pipeline', 'SegmentTrainView'),
        (dict(type='SegmentTestView'), 'dataset.pipeline', 'SegmentTestView'),
    ],
)
@pytest.mark.parametrize('load', [dict(channels=5), dict(channels=3, value_range=(0, 9))])
def test_transforms_of_8_bit_rgb(image_folder, step, key, value, load):
    with refuses(key, value):
        ImageDataset(str(image_folder), 'train', pipeline=[dict(type='LoadImage', **load), step])


def test_settings():
    for value in (0, -1, 1.5, MAX_CHANNELS + 1):
        with refuses('channels', value):
            LoadImage(channels=value)
    image = ChannelImage.of_array(pixels(5), 'x')
    with refuses('channels', 5):
        assert image.pil
