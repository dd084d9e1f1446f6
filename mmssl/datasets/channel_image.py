"""Image files of any number of channels and of 16 bits, decoded as they are."""

import io
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core import UserError
from .deep_images import HIGHEST
from .encoded_image import EncodedImage
from .image_formats import (
    FORMATS,
    MAX_PIXELS,
    PNG_SIGN,
    SMALL_TILE,
    TIFF_SIGNS,
    bits_of_tiff,
    check_size,
    jpeg_header,
    opened,
)

MAX_CHANNELS = 512  # OpenCV's limit
MAX_VALUES = 4 * MAX_PIXELS  # of one image, over all channels
SAMPLES_PER_PIXEL = 277  # tag of a TIFF
# modes of Pillow whose values are those of the file
DIRECT = ('L', 'LA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'I', 'F', 'I;16', 'I;16B', 'I;16L')


class ChannelImage(EncodedImage):
    """An image file whose pixels are (H, W, channels), uint8, or uint16 by ``value_range``.

    ``value_range`` (low, high) says which values become 0 and 65535; without it files have 8 bits.
    Bands of a TIFF and its pages are channels (by tifffile, where Pillow reads fewer). Raises
    UnreadableImage for a damaged file, one of another number of channels, and one of more than 8
    bits without ``value_range``.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        channels: int,
        value_range: tuple[float, float] | None = None,
        max_pixels: int | None = MAX_PIXELS,
        formats: tuple[str, ...] = FORMATS,
    ) -> None:
        self.data = data
        self.name = name
        self.channels = channels
        self.fast_decodable = False
        try:
            values = channel_values(data, max_pixels, formats)  # (H, W, C)
            self._take(values, channels, value_range)
        except ValueError as error:
            raise self.broken(error) from None
        if jpeg_header(data) is not None:
            self._check_end(self.array)
        self.size = (values.shape[1], values.shape[0])

    @classmethod
    def of_values(
        cls,
        values: NDArray[Any],
        name: str,
        channels: int,
        value_range: tuple[float, float] | None = None,
    ) -> 'ChannelImage':
        """Return the image of values (H, W, C) that are no file, taken as those of one are.

        Raises UnreadableImage as a file does.
        """
        image = cls.of_array(values, name)
        try:
            image._take(values, channels, value_range)
        except ValueError as error:
            raise image.broken(error) from None
        return image

    def _take(
        self, values: NDArray[Any], channels: int, value_range: tuple[float, float] | None
    ) -> None:
        """Keep values (H, W, C). Raises ValueError for another number of channels, or type."""
        if values.shape[2] != channels:
            raise ValueError(
                f'{values.shape[2]} channels, not those of LoadImage(channels={channels})'
            )
        self.array = _scaled(values, value_range)

    @classmethod
    def of_array(cls, array: NDArray[Any], name: str) -> 'ChannelImage':
        """Return the image of pixels (H, W, C), uint8 or uint16, without a file."""
        image = cls.__new__(cls)
        image.name = name
        image.channels = array.shape[2]
        image.fast_decodable = False
        image.array = array
        image.size = (array.shape[1], array.shape[0])
        return image

    def pixels(self, reduce: int = 1) -> NDArray[Any]:
        """Return the pixels (H, W, channels); ``reduce`` is asked of fast decodable files only."""
        return self.array

    @property
    def pil(self) -> Image.Image:
        """The image as Pillow's. Raises UserError where Pillow has no such image."""
        if self.array.dtype == np.uint8 and self.channels == 3:
            return Image.fromarray(self.array)
        raise UserError(
            f'LoadImage(channels={self.channels}): Pillow has no images of so many channels of '
            f'{8 * self.array.itemsize} bits; use transforms that take them (docs/datasets.md)',
            key='channels',
            value=self.channels,
        )

    @property
    def preview(self) -> Image.Image:
        """The first three channels, or the first alone as grey, of 8 bits, to be looked at."""
        array = (self.array >> 8).astype(np.uint8) if self.array.dtype == np.uint16 else self.array
        shown = array[..., :3] if self.channels >= 3 else array[..., [0, 0, 0]]
        return Image.fromarray(np.ascontiguousarray(shown))


def _scaled(values: NDArray[Any], value_range: tuple[float, float] | None) -> NDArray[Any]:
    """Return values (H, W, C) as uint8 as they are, or by their range as uint16.

    Raises ValueError for other values than bytes without a range.
    """
    if value_range is None:
        if values.dtype != np.uint8:
            raise ValueError(
                f'values of type {values.dtype}; state their range by '
                'LoadImage(value_range=(low, high))'
            )
        return values
    low, high = value_range
    shares = (values.astype(np.float64) - low) / (high - low)
    found: NDArray[Any] = np.rint(HIGHEST * np.nan_to_num(shares).clip(0, 1)).astype(np.uint16)
    return found


def channel_values(
    data: bytes, max_pixels: int | None = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> NDArray[Any]:
    """Return the values (H, W, C) of an image file as it holds them.

    Palettes are looked up; CMYK and alpha are channels. Raises ValueError with the cause on one
    line for a damaged file, and where a library is missing.
    """
    if data[:4] in TIFF_SIGNS:
        return _tiff(data, max_pixels, formats)
    with opened(data, max_pixels, formats) as image:
        if data.startswith(PNG_SIGN) and data[24] == 16:
            return _deep_png(data)
        return _of_pillow(image)


def _of_pillow(image: Image.Image) -> NDArray[Any]:
    mode = image.mode
    if mode in ('P', 'PA'):
        image = image.convert('RGBA' if 'transparency' in image.info or mode == 'PA' else 'RGB')
    elif mode == '1':
        image = image.convert('L')
    elif mode not in DIRECT:
        image = image.convert('RGB')
    values = np.asarray(image)
    return values[..., None] if values.ndim == 2 else values


def _deep_png(data: bytes) -> NDArray[Any]:
    """Return the values of a PNG of 16 bits: grey, RGB or RGBA."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError('a PNG of 16 bits that cannot be decoded')
    if values.ndim == 2:
        found: NDArray[Any] = values[..., None]
        return found
    order = [2, 1, 0, 3][: values.shape[2]]  # OpenCV has BGR
    return np.ascontiguousarray(values[..., order])


def _tiff(data: bytes, max_pixels: int | None, formats: tuple[str, ...]) -> NDArray[Any]:
    """Return the values of a TIFF: by Pillow where it reads all of them, else by tifffile."""
    try:
        with opened(data, max_pixels, formats) as image:
            tags = image.tag_v2  # type: ignore[attr-defined]
            bands = tags.get(SAMPLES_PER_PIXEL, 1)  # of which Pillow may leave some out
            whole = not image.is_animated and bands == len(image.getbands())  # type: ignore[attr-defined]
            one = image.mode.startswith(('I', 'F'))
            if whole and (one or bits_of_tiff(image) <= 8):
                return _of_pillow(image)
    except ValueError as error:
        failure = str(error)
    else:
        failure = ''
    try:
        import tifffile
    except ImportError:
        raise ValueError(
            'a TIFF of several pages, of more than 4 bands or of colours of 16 bits needs a '
            'library: pip install tifffile' + (f' (Pillow: {failure})' if failure else '')
        ) from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return _of_tifffile(file, max_pixels)
    except Exception as error:  # of damaged files, each in its own way
        raise ValueError(' '.join(str(error).split())[:300] or type(error).__name__) from None


def _of_tifffile(file: Any, max_pixels: int | None) -> NDArray[Any]:
    """Return the one series of a file as (H, W, C): bands, or pages, last."""
    if len(file.series) != 1:
        raise ValueError(f'a TIFF of {len(file.series)} images of different kinds')
    series = file.series[0]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    others = [axis for axis, size in sizes.items() if axis not in 'YX' and size > 1]
    if 'Y' not in sizes or 'X' not in sizes or len(others) > 1:
        raise ValueError(
            f'a TIFF with axes {series.axes} {series.shape}; give rows, columns, bands'
        )
    if series.dtype is None or series.dtype.kind not in 'uif':
        raise ValueError(f'a TIFF of values of type {series.dtype}')
    check_size(sizes['X'], sizes['Y'], max_pixels)
    if math.prod(series.shape) > MAX_VALUES or sizes.get(''.join(others), 1) > MAX_CHANNELS:
        raise ValueError(f'{series.shape} values, more than are read of one image')
    page = series.keyframe
    if page.is_tiled and page.tilewidth * page.tilelength > max(
        sizes['X'] * sizes['Y'], SMALL_TILE
    ):
        raise ValueError('tiles larger than the image')
    values = series.asarray(maxworkers=1)
    kept = [axis for axis, size in sizes.items() if axis in 'YX' or size > 1]
    values = values.reshape([sizes[axis] for axis in kept])
    values = values.transpose([kept.index(axis) for axis in ('Y', 'X', *others)])
    return np.ascontiguousarray(values[..., None] if values.ndim == 2 else values)
