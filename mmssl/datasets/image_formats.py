"""Image formats that are read, known by content, and what is checked before pixels are decoded."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from .sources.base import LFS_ADVICE, LFS_POINTER

# of pixels alone and with a certain sign: others of Pillow's start programs (PostScript), take
# gigabytes before they are refused (ICO) or have failures of their own (DDS)
FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM')
EXTRA_FORMATS = ('AVIF', 'JPEG2000')  # where asked for
MAX_PIXELS = 64_000_000  # ImageNet's largest image has 61 million
MAX_SCANS = 100  # of a JPEG, as libtiff has it; encoders write about 10
SMALL_TILE = 1024 * 1024  # pixels of a TIFF's tile that are no fault in a smaller image
TILE_SIDES = (322, 323)  # tags of a TIFF
BITS_PER_SAMPLE = 258
PNG_SIGN = b'\x89PNG\r\n\x1a\n'
TIFF_SIGNS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# what files begin with that are no images of the list
REFUSED = {
    b'%!PS': 'PostScript',
    b'\xc5\xd0\xd3\xc6': 'PostScript',
    b'%PDF': 'PDF',
    b'DDS ': 'DDS',
    b'\0\0\1\0': 'ICO',
    b'\0\0\2\0': 'CUR',
    b'icns': 'ICNS',
    b'\x0a\x00\x01': 'PCX',
    b'\x0a\x02\x01': 'PCX',
    b'\x0a\x03\x01': 'PCX',
    b'\x0a\x05\x01': 'PCX',
    b'\xb1\x68\xde\x3a': 'DCX',
    b'\x01\xda': 'SGI',
    b'DanM': 'MSP',
    b'LinS': 'MSP',
    b'Image type:': 'IM',
    b'BLP1': 'BLP',
    b'BLP2': 'BLP',
    b'qoif': 'QOI',
    b'#define ': 'XBM',
    b'/* XPM */': 'XPM',
    b'8BPS': 'PSD',
    b'\x59\xa6\x6a\x95': 'SUN raster',
    b'SIMPLE  =': 'FITS',
    b'\xd7\xcd\xc6\x9a': 'WMF',
    b'FTC\0': 'FTEX',
    b'FTU\0': 'FTEX',
    b'GRIB': 'GRIB',
    b'BUFR': 'BUFR',
    b'\x89HDF': 'HDF5',
    b'v/1\x01': 'OpenEXR',
    b'\xff\x0a': 'JPEG XL',
    b'\0\0\0\x0cJXL ': 'JPEG XL',
    b'\xff\x4f\xff\x51': 'JPEG2000',
    b'\0\0\0\x0cjP  ': 'JPEG2000',
    b'<svg': 'SVG',
    b'PK\3\4': 'zip',
    b'\x1f\x8b': 'gzip',
    b'\x93NUMPY': 'NumPy',
}
BRANDS = {b'avif': 'AVIF', b'avis': 'AVIF', b'heic': 'HEIC', b'heix': 'HEIC', b'mif1': 'HEIF'}
TGA_END = b'TRUEVISION-XFILE.\0'


class Header(NamedTuple):
    """Header of a JPEG: size, colour channels, number of scans, whether the end is present."""

    width: int
    height: int
    channels: int
    scans: int
    ends: bool


def jpeg_header(data: bytes) -> Header | None:
    """Return the header of a JPEG, read up to its pixels, or None for other files."""
    if data[:3] != b'\xff\xd8\xff':
        return None
    at = 2
    size = (0, 0, 0)
    while at + 10 <= len(data):
        if data[at] != 0xFF:  # bytes between segments, which decoders pass over
            at = data.find(b'\xff', at)
            if at < 0:
                break
            continue
        kind = data[at + 1]
        if kind == 0xFF:  # padding
            at += 1
            continue
        if kind in (0, 1) or 0xD0 <= kind <= 0xD7:  # markers without a length
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], 'big')
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[at + 5 : at + 7], 'big')
            width = int.from_bytes(data[at + 7 : at + 9], 'big')
            size = (width, height, data[at + 9])
        if kind == 0xDA:  # pixels: a real end marker can only come after
            scans = data.count(b'\xff\xda', at)
            return Header(*size, scans, ends=data.find(b'\xff\xd9', at) > 0)
        at += 2 + max(length, 2)
    return Header(*size, 0, ends=False)


def check_jpeg(header: Header) -> None:
    """Check the header of a JPEG. Raises ValueError for one cut off or of too many scans."""
    if not header.ends:
        raise ValueError('truncated: a JPEG without its end')
    if header.scans > MAX_SCANS:
        raise ValueError(f'a JPEG of {header.scans} scans; more than {MAX_SCANS} are refused')


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Check the size of an image. Raises ValueError for none and for too many pixels."""
    if max_pixels is not None and width * height > max_pixels:
        raise ValueError(f'{width} x {height} pixels, more than LoadImage(max_pixels={max_pixels})')
    if width < 1 or height < 1:
        raise ValueError('no pixels')


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a WebP from its first chunk, or None for other files."""
    if len(data) < 30 or data[:4] != b'RIFF' or data[8:12] != b'WEBP':
        return None
    kind = data[12:16]
    if kind == b'VP8X':
        width = 1 + int.from_bytes(data[24:27], 'little')
        return width, 1 + int.from_bytes(data[27:30], 'little')
    if kind == b'VP8L':
        bits = int.from_bytes(data[21:25], 'little')
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b'VP8 ':
        width, height = struct.unpack('<HH', data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _check_tiles(image: Image.Image) -> None:
    """Check a TIFF. Raises ValueError for tiles far larger than the image: they are decoded whole.

    Strips are cut to the image by the decoder.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    width, height = (tags.get(tag, 0) for tag in TILE_SIDES)
    if width * height > max(image.width * image.height, SMALL_TILE):
        raise ValueError(
            f'its tiles of {width} x {height} pixels are larger than its {image.width} x '
            f'{image.height}'
        )


def bits_of_tiff(image: Image.Image) -> int:
    """Return the most bits of a channel of a TIFF."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    return int(max(tags.get(BITS_PER_SAMPLE, (8,))))


@contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Keep Pillow from warnings about sizes that are checked here."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def opened(
    data: bytes, max_pixels: int | None = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Iterator[Image.Image]:
    """Give an image file opened by Pillow, its header checked and its pixels not decoded yet.

    Every reader of images opens them here. Whatever the block raises too, as every decoder has
    failures of its own, becomes a ValueError with the cause on one line: another format, no or
    more than ``max_pixels`` pixels, tiles larger than the image, a damaged file.
    """
    try:
        if (header := jpeg_header(data)) is not None:
            check_jpeg(header)
        if (size := webp_size(data)) is not None:  # Pillow makes its canvas while opening it
            check_size(size[0], size[1], max_pixels)
        with _no_pillow_limit(), Image.open(io.BytesIO(data), formats=formats) as image:
            check_size(image.width, image.height, max_pixels)
            if image.format == 'TIFF':
                _check_tiles(image)
            yield image
    except UnidentifiedImageError:
        raise ValueError(what_it_is(data, formats)) from None
    except Exception as error:
        raise ValueError(' '.join(str(error).split()) or type(error).__name__) from None


def what_it_is(data: bytes, formats: tuple[str, ...] = FORMATS) -> str:
    """Return what is in a file that is not an image, as far as its first bytes tell."""
    if not data:
        return 'empty, not an image'
    if data.startswith(LFS_POINTER):
        return LFS_ADVICE
    if data.lstrip()[:9].lower().startswith((b'<!doctype', b'<html')):
        return 'a web page, not an image: download it again'
    kind = next((name for sign, name in REFUSED.items() if data.startswith(sign)), '')
    if data[4:8] == b'ftyp':
        kind = BRANDS.get(data[8:12], '')
    if data.endswith(TGA_END):
        kind = 'TGA'
    if not kind or kind in formats:
        return 'not an image'
    asked = f'; LoadImage(extra_formats=({kind!r},)) reads it' if kind in EXTRA_FORMATS else ''
    return f'{kind}, not one of the formats that are read ({", ".join(formats)}){asked}'
