"""Images of more than 8 bits: a stated range, the high byte, and one warning where that is dark."""

import io

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from mmssl.apis.images import open_image
from mmssl.datasets import ImageDataset, notices
from mmssl.datasets.encoded_image import EncodedImage
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.transforms import LoadImage
from mmssl.datasets.transforms.load_image import reader

from ..helpers.notices import heard
from ..helpers.packed import tool
from ..helpers.refusals import refuses

RAMP = np.arange(16 * 20).reshape(16, 20) * 4095 // 319  # 0 to 4095


@pytest.fixture
def said(monkeypatch):
    return heard(monkeypatch)


def file_of(values, kind):
    """Return values (H, W) or (H, W, 3) as a file of 16 bits; colours by OpenCV."""
    if values.ndim == 3:
        return cv2.imencode(f'.{kind.lower()}', values[..., ::-1].astype(np.uint16))[1].tobytes()
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, kind)
    return file.getvalue()


def pixels(content, **settings):
    """Return the pixels by both decoders' ways, which must agree."""
    image = LoadImage(**settings)(dict(path='a/x.tif', bytes=content))['image']
    np.testing.assert_array_equal(image.pixels(), np.asarray(image.pil))
    return image.pixels()


VALUES = {'grey': RAMP, 'colours': np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)}


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
@pytest.mark.parametrize('name', VALUES)
def test_twelve_bits_in_sixteen(said, kind, name):
    values = VALUES[name]
    content = file_of(values, kind)
    expected = np.broadcast_to((values >> 8).reshape(16, 20, -1), (16, 20, 3))
    np.testing.assert_array_equal(pixels(content), expected)  # 0 to 15, and said
    assert len(said) == 1 and 'a/x.tif' in said[0] and 'value_range=(0, 4095)' in said[0]
    exact = np.broadcast_to((values / 4095 * 255).reshape(16, 20, -1), (16, 20, 3))
    found = pixels(content, value_range=(0, 4095))
    assert np.abs(found - exact).max() <= 0.5
    assert (found.min(), found.max()) == (0, 255)
    assert len(said) == 1


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
@pytest.mark.parametrize('top', [8192, 65535])
def test_sixteen_bits_keep_their_high_byte(said, kind, top):
    for values in VALUES.values():
        values = values * top // 4095
        found = pixels(file_of(values, kind))
        np.testing.assert_array_equal(found[..., 0], (values >> 8).reshape(16, 20, -1)[..., 0])
    assert said == []


def test_a_black_image_says_nothing(said):
    assert not pixels(file_of(np.zeros((4, 4)), 'PNG')).any()
    assert said == []


def test_values_beyond_a_range_are_cut(said):
    found = pixels(file_of(np.array([[100, 200, 300, 1000]]), 'PNG'), value_range=(200, 400))
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 128, 255])


def test_floats_need_a_range():
    file = io.BytesIO()
    Image.fromarray(np.array([[-1, 0, 0.5, 1, np.nan]], np.float32)).save(file, 'TIFF')
    with pytest.raises(UnreadableImage, match='value_range'):
        pixels(file.getvalue())
    found = pixels(file.getvalue(), value_range=(0.0, 1.0))
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 128, 255, 0])


def test_eight_bits_are_as_before(make_image):
    image = make_image((9, 7))
    for kind in ('PNG', 'TIFF', 'BMP'):
        file = io.BytesIO()
        image.save(file, kind)
        found = pixels(file.getvalue(), value_range=(0, 4095))
        np.testing.assert_array_equal(found, np.asarray(image))


@pytest.mark.parametrize('value_range', [(0,), 4095, (5, 5), (9, 1), ('0', '1'), (0, 1, 2)])
def test_ranges(value_range):
    with refuses('value_range', value_range):
        LoadImage(value_range=value_range)


def test_the_first_page_of_a_stack(said, make_image):
    pages = [make_image((9, 7), seed=i) for i in range(3)]
    file = io.BytesIO()
    pages[0].save(file, 'TIFF', save_all=True, append_images=pages[1:])
    for _ in range(2):
        np.testing.assert_array_equal(pixels(file.getvalue()), np.asarray(pages[0]))
    assert len(said) == 1 and 'first' in said[0]


def folder(root):
    for i in range(8):
        (root / 'train').mkdir(exist_ok=True)
        (root / f'train/{i}.png').write_bytes(file_of(RAMP, 'PNG'))
    return root


def test_workers_warn_once_in_all(tmp_path, said):
    """Each of several workers decodes such an image; the log has one line."""
    views = [dict(type='LoadImage'), dict(type='CenterView', size=8)]
    data = ImageDataset(str(folder(tmp_path)), 'train', pipeline=views)
    log = tmp_path / 'log'
    notices.print_log = lambda text, **_: log.open('a').write(f'{text}\n')
    try:
        for _ in DataLoader(data, 2, num_workers=3, multiprocessing_context='fork'):
            pass
    finally:
        notices.print_log = said.append
    assert log.read_text().count('value_range=(0, 4095)') == 1


@pytest.mark.parametrize('workers', ['1', '2'])
def test_a_data_report_says_it_once(tmp_path, said, workers, monkeypatch):
    log = tmp_path / 'log'
    monkeypatch.setattr(notices, 'print_log', lambda text, **_: log.open('a').write(f'{text}\n'))
    words = ['--split', 'train', '--workers', workers, '--quiet', '--out', str(tmp_path / 'out')]
    tool('data_report').main([str(folder(tmp_path)), *words])
    assert log.read_text().count('value_range=(0, 4095)') == 1


def test_for_inference(tmp_path, said):
    image = open_image(folder(tmp_path) / 'train/0.png', LoadImage(value_range=(0, 4095)))
    assert np.asarray(image).max() == 255
    assert np.asarray(open_image(folder(tmp_path) / 'train/0.png')).max() == 15


def test_readers_have_the_settings_of_a_pipeline():
    load = LoadImage(value_range=(0, 4095))
    assert reader([object(), load]) is load
    assert reader([]).value_range is None


WHAT = {
    'a pointer of Git LFS': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n', 'git lfs pull'),
    'a web page': (b'\n<!DOCTYPE html><html>', 'a web page'),
    'nothing': (b'', 'empty'),
    'text': (b'hello', 'not an image'),
}  # fmt: skip


@pytest.mark.parametrize(('content', 'fact'), WHAT.values(), ids=WHAT)
def test_what_is_no_image(content, fact):
    with pytest.raises(UnreadableImage, match=fact):
        EncodedImage(content, 'a.jpg').pixels()


def test_notices_go_to_the_current_log(caplog):
    # the logger that was made last is the current one, whatever other tests have left
    logger = MMLogger.get_instance('notices of this test', log_level='INFO')
    assert MMLogger.get_current_instance() is logger
    notices.say_once.cache_clear()
    logger.addHandler(caplog.handler)
    try:
        notices.say_once('a\nb')
        notices.say_once('a\nb')
    finally:
        logger.removeHandler(caplog.handler)
    assert [r.getMessage() for r in caplog.records] == ['a\\nb']
