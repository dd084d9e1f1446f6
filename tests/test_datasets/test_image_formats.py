"""Images are known by content, from a list of formats, and checked before they are decoded."""

import io
import os
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, _webp

from mmssl.apis.images import open_image
from mmssl.cli.camvid import labels
from mmssl.cli.penn_fudan import read_image
from mmssl.datasets.encoded_image import EncodedImage
from mmssl.datasets.image_formats import (
    EXTRA_FORMATS,
    FORMATS,
    MAX_PIXELS,
    MAX_SCANS,
    jpeg_header,
    opened,
    webp_size,
)
from mmssl.datasets.packing import file_of
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.transforms import LoadImage

from ..helpers.images import make_image
from ..helpers.refusals import refuses

EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n'
DDS = struct.pack(
    '<4s7I44s2I4s5I4I', b'DDS ', 124, 0x1007, 16, 16, 32, 0, 0, b'', 32, 0x00200000, b'',
    *(0, 0, 0, 0, 0, 0x1000, 0, 0, 0),
) + bytes(4096)  # fmt: skip


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load(content, **settings):
    return LoadImage(**settings)(dict(path='a/b.jpg', bytes=content))['image']


def refused(content, **settings):
    """Check that an image is refused; return the cause."""
    with refuses('file', 'a/b.jpg', UnreadableImage) as caught:
        load(content, **settings).pixels()
    return str(caught.value).removeprefix('a/b.jpg: ')


# formats ------------------------------------------------------------------------------------------
@pytest.mark.parametrize('kind', FORMATS)
def test_formats_that_are_read(kind):
    image = make_image((24, 16))
    content = encoded(image, kind, **dict(lossless=True) if kind == 'WEBP' else {})
    found = load(content)
    assert found.size == (24, 16)
    with Image.open(io.BytesIO(content)) as theirs:
        np.testing.assert_array_equal(found.pixels(), np.asarray(theirs.convert('RGB')))


WRITTEN = {
    **{kind: kind for kind in ('ICO', 'ICNS', 'PCX', 'TGA', 'SGI', 'IM', 'QOI', 'PDF')},
    **dict(EPS='PostScript'),
}


def other_formats():
    """Yield contents in formats that are not read, and the format's name."""
    Image.init()
    for kind, name in WRITTEN.items():
        if kind in Image.SAVE:  # an old Pillow reads QOI and does not write it
            yield encoded(make_image((32, 32)), kind), name
    bits = make_image((32, 32)).convert('1')
    yield encoded(bits, 'MSP'), 'MSP'
    yield encoded(bits, 'XBM'), 'XBM'
    yield encoded(bits.convert('P'), 'BLP'), 'BLP'
    yield DDS, 'DDS'
    yield EPS, 'PostScript'
    for kind in EXTRA_FORMATS:
        yield encoded(make_image((32, 32)), kind), kind


@pytest.mark.parametrize(('content', 'name'), other_formats())
def test_other_formats_are_refused_by_name(content, name, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda _: pytest.fail('decoded'))
    assert refused(content).startswith(f'{name}, not one of the formats')


@pytest.mark.parametrize('kind', EXTRA_FORMATS)
def test_formats_that_are_asked_for(kind):
    image = make_image((32, 24))
    content = encoded(image, kind)
    found = load(content, extra_formats=[kind]).pixels()
    assert found.shape == (24, 32, 3)
    assert np.abs(found - np.asarray(image).astype(int)).mean() < 20
    assert '32 x 24' in refused(content, extra_formats=[kind], max_pixels=767)


SETTINGS = {
    'a format without a rule': ('extra_formats', ['EPS']),
    'a word': ('extra_formats', 'AVIF'),
    'no pixels': ('max_pixels', 0),
    'half a pixel': ('max_pixels', 0.5),
}


@pytest.mark.parametrize(('key', 'value'), SETTINGS.values(), ids=SETTINGS)
def test_settings(key, value):
    with refuses(key, value):
        LoadImage(**{key: value})


def readers(path):
    """Return every way to read an image file."""
    return {
        'training': lambda: LoadImage()(dict(path=str(path)))['image'].pixels(),
        'inference': lambda: open_image(path),
        'penn-fudan': lambda: read_image(path),
        'camvid': lambda: labels(path.read_bytes(), str(path)),
        'masks': lambda: opened(path.read_bytes()).__enter__(),
    }


@pytest.mark.parametrize('who', readers(None))
def test_no_reader_starts_ghostscript(tmp_path, monkeypatch, who):
    program = tmp_path / 'gs'
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/started\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    path = tmp_path / 'a.png'
    path.write_bytes(EPS)
    with pytest.raises(Exception, match=r'PostScript|readable'):
        readers(path)[who]()
    assert not (tmp_path / 'started').exists()


@pytest.mark.parametrize('who', readers(None))
def test_every_reader_has_the_limit(tmp_path, monkeypatch, who):
    path = tmp_path / 'a.png'
    path.write_bytes(png_of(8001, 8000))
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda _: pytest.fail('decoded'))
    with pytest.raises(Exception, match=r'8001 x 8000|readable'):
        readers(path)[who]()


def test_inference_has_the_limits_of_the_config(tmp_path):
    make_image((20, 10)).save(tmp_path / 'a.jp2', 'JPEG2000')
    path = tmp_path / 'a.jp2'
    with refuses('file', str(path), UnreadableImage):
        open_image(path)
    assert open_image(path, LoadImage(extra_formats=['JPEG2000'])).size == (20, 10)
    with refuses('file', str(path), UnreadableImage):
        open_image(path, LoadImage(199, extra_formats=['JPEG2000']))


def test_a_ppm_that_cannot_be_packed():
    with refuses('file', 'a/0.png'):
        file_of('a/0.png', b'P6 9 9 255\n')


# size -----------------------------------------------------------------------------------------
def png_of(width, height):
    """Return a PNG of the size in its header, without all its pixels."""
    content = encoded(make_image((4, 4)), 'PNG')
    header = b'IHDR' + struct.pack('>II', width, height) + content[24:29]
    return content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]


def jpeg_of(width, height):
    content = encoded(make_image((16, 16)), 'JPEG')
    at = content.index(b'\xff\xc0') + 5
    return content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]


def webp_of(width, height):
    """Return a WebP with the size in its VP8X chunk."""
    chunk = b'VP8X' + struct.pack('<I', 10) + bytes(4)
    chunk += (width - 1).to_bytes(3, 'little') + (height - 1).to_bytes(3, 'little')
    content = b'WEBP' + chunk + encoded(make_image((4, 4)), 'WEBP')[12:]
    return b'RIFF' + struct.pack('<I', len(content)) + content


def gif_of(width, height):
    """Return a GIF whose first frame is larger than its screen."""
    head = b'GIF89a' + struct.pack('<HHBBB', 1, 1, 0x80, 0, 0) + bytes(6)
    return head + b',' + struct.pack('<HHHHB', 0, 0, width, height, 0) + b'\x02\x02\x44\x01\x00;'


SIZED = dict(PNG=png_of, JPEG=jpeg_of, WEBP=webp_of, GIF=gif_of)


@pytest.mark.parametrize('kind', SIZED)
def test_the_limit_is_kept_before_memory_is_taken(kind, monkeypatch):
    assert MAX_PIXELS == 8000 * 8000
    for module, name in (
        (ImageFile.ImageFile, 'load'),
        (cv2, 'imdecode'),
        (_webp, 'WebPAnimDecoder'),
    ):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail('decoded'))
    assert refused(SIZED[kind](8001, 8000)).startswith('8001 x 8000 pixels, more than')
    assert refused(SIZED[kind](16000, 16000), max_pixels=16000**2 - 1)


def test_an_image_at_the_limit_is_read():
    content = encoded(Image.new('1', (3000, 2000)), 'PNG')
    assert load(content, max_pixels=6_000_000).size == (3000, 2000)
    assert load(jpeg_of(8000, 8000)).size == (8000, 8000)


@pytest.mark.parametrize('options', [dict(), dict(lossless=True), dict(exif=b'Exif\0\0')])
@pytest.mark.parametrize('size', [(1, 1), (37, 21), (300, 5)])
def test_webp_sizes(options, size):
    assert webp_size(encoded(make_image(size), 'WEBP', **options)) == size


# tiles and scans ----------------------------------------------------------------------------------
def tiff(size, tile, content):
    """Return a grey TIFF of one tile, compressed by zlib."""
    tags = [
        *((256, 4, size[0]), (257, 4, size[1]), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)),
        *((322, 4, tile[0]), (323, 4, tile[1]), (324, 4, 0), (325, 4, len(content))),
    ]
    at = 14 + 12 * len(tags)
    rows = [struct.pack('<HHII', tag, kind, 1, at if tag == 324 else v) for tag, kind, v in tags]
    head = b'II*\0' + struct.pack('<IH', 8, len(tags))
    return head + b''.join(rows) + bytes(4) + content


def test_a_tile_may_be_larger_than_a_small_image():
    values = np.arange(256 * 256, dtype=np.uint8).reshape(256, 256)
    found = load(tiff((20, 10), (256, 256), zlib.compress(values.tobytes())))
    np.testing.assert_array_equal(found.pixels()[..., 0], values[:10, :20])


@pytest.mark.parametrize('tile', [(44_000, 44_000), (2**31, 2**31), (1040, 1024)])
def test_tiles_beyond_the_image(tile, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda _: pytest.fail('decoded'))
    assert f'{tile[0]} x {tile[1]}' in refused(tiff((16, 16), tile, zlib.compress(bytes(999))))


def scans(count):
    """Return a JPEG whose last scan is repeated up to a number of scans."""
    content = encoded(make_image((64, 64)), 'JPEG', progressive=True)
    last = content[content.rindex(b'\xff\xda') : -2]
    return content[:-2] + last * (count - content.count(b'\xff\xda')) + content[-2:]


def test_scans_are_counted():
    for count in (10, MAX_SCANS):
        assert jpeg_header(scans(count)).scans == count
        assert load(scans(count)).pixels().shape == (64, 64, 3)
    for count in (MAX_SCANS + 1, 3000):
        assert f'{count} scans' in refused(scans(count))
    cmyk = encoded(make_image((64, 64)).convert('CMYK'), 'JPEG', progressive=True)
    last = cmyk[cmyk.rindex(b'\xff\xda') : -2]
    assert 'scans' in refused(cmyk[:-2] + last * 200 + cmyk[-2:])


# damage -------------------------------------------------------------------------------------------
@pytest.mark.parametrize('between', [b'\0\0\x12', b'\xff\xff\xff', b'\x12\xff\0', b'\xff\xd0'])
def test_bytes_between_the_segments_of_a_jpeg(between):
    content = encoded(make_image((40, 32)), 'JPEG')
    at = content.index(b'\xff\xdb')
    strange = load(content[:at] + between + content[at:])
    assert strange.size == (40, 32)
    np.testing.assert_array_equal(strange.pixels(), load(content).pixels())


@pytest.mark.parametrize('kind', ['PNG', 'GIF', 'JPEG', 'BMP', 'PPM', 'TIFF', 'WEBP'])
def test_what_is_read_of_a_cut_file_is_whole(kind):
    """Its end marker may be missing, no pixel."""
    content = encoded(make_image((24, 16)).convert('P' if kind == 'GIF' else 'RGB'), kind)
    whole = load(content).pixels()
    refusals = 0
    for cut in range(1, 60):
        try:
            found = load(content[:-cut]).pixels()
        except UnreadableImage:
            refusals += 1
            continue
        np.testing.assert_array_equal(found, whole)
    assert refusals >= 20


@pytest.mark.filterwarnings('ignore')  # Pillow's, about the damage
@pytest.mark.parametrize('kind', [*FORMATS, *EXTRA_FORMATS])
def test_mutated_files_are_read_or_refused(kind):
    """Nothing but UnreadableImage is raised, and what is read has the size of the header."""
    draw = random.Random(kind)
    content = encoded(make_image((24, 16)), kind)
    read = 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            changed[draw.randrange(len(content))] = draw.choice((0, 1, 255, draw.randrange(256)))
        try:
            image = load(bytes(changed), max_pixels=10**6, extra_formats=EXTRA_FORMATS)
            assert image.pixels().shape == (image.height, image.width, 3)
        except UnreadableImage as error:
            assert len(str(error).splitlines()) == 1
            continue
        read += 1
    assert 300 > read >= (1 if kind == 'PNG' else 20), read  # a PNG has check sums


def test_the_header_is_read_before_the_pixels():
    """The size is known without decoding."""
    image = EncodedImage(encoded(make_image((40, 24)), 'JPEG'), 'a.jpg')
    assert (image.size, image.__dict__.get('pil')) == ((40, 24), None)
