"""Decode every image format, and report files that are no image."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmssl.datasets.encoded_image import EncodedImage
from mmssl.datasets.image_formats import jpeg_header
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.transforms import LoadImage


def encoded(image, kind='JPEG', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load(content, **settings):
    return LoadImage(**settings)(dict(path='a/b.jpg', bytes=content))['image']


def both(content):
    """Return the pixels of both decoders."""
    image = load(content)
    return image.pixels(), np.asarray(image.pil)


@pytest.mark.parametrize('mode', ['RGB', 'L', 'LA', 'RGBA', 'P', '1'])
def test_every_mode_of_png_becomes_rgb(make_image, mode):
    image = make_image((9, 7)).convert(mode)
    for pixels in both(encoded(image, 'PNG')):
        np.testing.assert_array_equal(pixels, np.asarray(image.convert('RGB')))


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpegs_are_the_same_for_both_decoders(make_image, mode, progressive):
    content = encoded(make_image((37, 21)).convert(mode), quality=92, progressive=progressive)
    ours, pillow = both(content)
    np.testing.assert_array_equal(ours, pillow)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(pillow, np.asarray(image.convert('RGB')))
    header = jpeg_header(content)
    assert header[:3] == (37, 21, {'RGB': 3, 'L': 1, 'CMYK': 4}[mode])
    assert header.ends and (header.scans > 1) == progressive
    assert load(content).size == (37, 21)


@pytest.mark.parametrize('reduce', [2, 4, 8])
def test_reduced_pixels_are_means_of_blocks(make_image, reduce):
    """Of a smooth image, whose blocks JPEG keeps."""
    image = make_image((8, 6)).resize((128, 96), Image.Resampling.BICUBIC)
    content = encoded(image, quality=98, subsampling=0)
    small = load(content).pixels(reduce).astype(float)
    blocks = np.asarray(load(content).pil).reshape(96 // reduce, reduce, 128 // reduce, reduce, 3)
    assert np.abs(small - blocks.mean((1, 3))).mean() < 1


def test_of_sixteen_bits_the_high_byte_is_taken():
    values = np.array([[0, 255, 256, 4096], [32768, 65535, 257, 511]], np.uint16)
    for kind in ('PNG', 'TIFF'):
        for pixels in both(encoded(Image.fromarray(values), kind)):
            np.testing.assert_array_equal(pixels[..., 1], values >> 8)
            np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    colour = np.stack([values] * 3, -1)
    content = cv2.imencode('.png', colour)[1].tobytes()
    np.testing.assert_array_equal(load(content).pixels(), colour >> 8)


def test_of_an_animation_the_first_frame_is_taken(make_image):
    frames = [make_image((12, 9), seed).convert('P') for seed in (1, 2, 3)]
    content = encoded(frames[0], 'GIF', save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3
        first = np.asarray(image.convert('RGB'))
    for pixels in both(content):
        np.testing.assert_array_equal(pixels, first)


def test_an_exif_rotation_is_left_alone(make_image):
    """The official codes do not turn images; a turned one has other sides."""
    exif = Image.Exif()
    exif[0x112] = 6
    content = encoded(make_image((40, 24)), exif=exif)
    image = load(content)
    assert image.size == (40, 24)
    assert image.pixels().shape == np.asarray(image.pil).shape == (24, 40, 3)


def test_the_ending_of_the_name_does_not_matter(make_image):
    image = make_image((9, 7))
    np.testing.assert_array_equal(load(encoded(image, 'PNG')).pixels(), np.asarray(image))
    np.testing.assert_array_equal(load(encoded(image, 'BMP')).pixels(), np.asarray(image))


def damaged(make_image, how):
    """Return the bytes of a damaged file."""
    image = make_image((160, 120))
    jpeg, png = encoded(image, quality=90), encoded(image, 'PNG')
    half = len(jpeg) // 2
    thumbnail = Image.Exif()
    thumbnail[0x9286] = jpeg[-400:].decode('latin1')  # an end marker before the pixels
    return {
        'empty': b'',
        'text': b'not an image',
        'page': b'<html>404</html>',
        'truncated jpeg': jpeg[:half],
        'truncated, then zeros': jpeg[:half] + bytes(half),
        'a hole': jpeg[:half] + jpeg[-2:],
        'a hole of zeros': jpeg[:half] + bytes(500) + jpeg[-2:],
        'end marker in its head': encoded(image, exif=thumbnail)[:-3000],
        'only a head': jpeg[:300],
        'truncated png': png[: len(png) // 2],
        'damaged png': png[:4000] + bytes([png[4000] ^ 255]) + png[4001:],
        'truncated gif': encoded(image, 'GIF')[:500],
        'truncated tiff': encoded(image, 'TIFF')[:5000],
        'float tiff': encoded(Image.fromarray(np.zeros((4, 4), np.float32)), 'TIFF'),
        'text in a jpeg': jpeg[:20] + b'garbage',
    }[how]


HOW = [
    *('empty', 'text', 'page', 'truncated jpeg', 'truncated, then zeros', 'a hole'),
    *('a hole of zeros', 'end marker in its head', 'only a head', 'truncated png', 'damaged png'),
    *('truncated gif', 'truncated tiff', 'float tiff', 'text in a jpeg'),
]


@pytest.mark.parametrize('decoder', ['pixels', 'pil'])
@pytest.mark.parametrize('how', HOW)
def test_what_is_no_whole_image_is_named(make_image, how, decoder):
    content = damaged(make_image, how)
    with pytest.raises(UnreadableImage, match=r'^a/b\.jpg: \S') as caught:
        image = load(content)
        image.pil if decoder == 'pil' else image.pixels()
    assert '\n' not in str(caught.value)


def test_grey_images_are_not_mistaken_for_broken_ones():
    for value in (127, 128, 129):
        content = encoded(Image.new('RGB', (64, 48), (value,) * 3))
        assert {int(v) for pixels in both(content) for v in np.unique(pixels)} == {value}


def test_huge_images_are_refused_before_they_are_decoded(make_image):
    for kind in ('JPEG', 'PNG'):
        content = encoded(make_image((60, 50)), kind)
        with pytest.raises(UnreadableImage, match=r'60 x 50 pixels, more than LoadImage\(max_pix'):
            load(content, max_pixels=2999)
        assert load(content, max_pixels=3000).size == (60, 50)
        assert load(content, max_pixels=None).size == (60, 50)
    # the head of a JPEG is enough
    header = encoded(make_image((60, 50)))
    at = header.index(b'\xff\xc0') + 5
    bomb = header[:at] + b'\xff\xff\xff\xff' + header[at + 4 :]
    with pytest.raises(UnreadableImage, match='65535 x 65535 pixels, more than'):
        load(bomb)


def test_a_file_may_be_named_instead(tmp_path, make_image):
    image = make_image((9, 7))
    image.save(tmp_path / 'a.png')
    found = LoadImage()(dict(path=str(tmp_path / 'a.png')))['image']
    assert isinstance(found, EncodedImage)
    np.testing.assert_array_equal(found.pixels(), np.asarray(image))
    with pytest.raises(UnreadableImage, match=r'no\.png: No such file'):
        LoadImage()(dict(path=str(tmp_path / 'no.png')))
