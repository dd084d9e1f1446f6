"""Decoding, and what is said when it fails."""

import numpy as np
import pytest
from PIL import Image

from mmssl.core import UserError
from mmssl.datasets.transforms import LoadImage


def load(path):
    return LoadImage()(dict(path=str(path)))['image']


@pytest.mark.parametrize('mode', ['RGB', 'L', 'RGBA', 'P', 'CMYK', '1'])
def test_every_mode_becomes_rgb(tmp_path, make_picture, mode):
    image = make_picture((9, 7)).convert(mode)
    path = tmp_path / ('a.tif' if mode == 'CMYK' else 'a.png')
    image.save(path)
    np.testing.assert_array_equal(np.asarray(load(path)), np.asarray(image.convert('RGB')))


def broken(tmp_path, make_picture, how):
    path = tmp_path / f'{how}.png'
    make_picture((64, 64)).save(path)
    if how == 'truncated':
        path.write_bytes(path.read_bytes()[:2000])
    if how == 'text':
        path.write_text('not an image')
    if how == 'empty':
        path.write_bytes(b'')
    if how == 'missing':
        path.unlink()
    return path


@pytest.mark.parametrize('how', ['truncated', 'text', 'empty', 'missing'])
def test_what_is_no_whole_image_is_named(tmp_path, make_picture, how):
    path = broken(tmp_path, make_picture, how)
    with pytest.raises(UserError, match='not a readable image') as caught:
        load(path)
    assert str(caught.value).startswith(f'{path}: ')
    assert str(caught.value).endswith('remove or replace it')
    assert '\n' not in str(caught.value)


def test_a_bomb_is_named(tmp_path, make_picture, monkeypatch):
    make_picture((64, 64)).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(UserError, match=r'a\.png: not a readable image'):
        load(tmp_path / 'a.png')
