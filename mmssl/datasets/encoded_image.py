"""Encoded image in memory, decoded by OpenCV or Pillow when pixels are needed."""

import os
import tempfile
from contextlib import suppress
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .deep_images import dark, deep_values, eight_bits
from .image_formats import FORMATS, MAX_PIXELS, check_jpeg, check_size, jpeg_header, opened
from .notices import Once
from .sources.base import UnreadableImage

FLAT = 16  # side of the block by which a JPEG whose data ran out is suspected
REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _decoder_messages(data: bytes) -> str:
    """Return what the JPEG library prints while decoding; OpenCV passes on none of it."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        file.seek(0)
        return file.read().decode(errors='replace').strip()


def to_rgb(
    image: Image.Image, value_range: tuple[float, float] | None = None, data: bytes = b''
) -> tuple[Image.Image, str]:
    """Return the first frame as RGB, 8 bits, and a warning when it becomes nearly black.

    Alpha is dropped, palettes are looked up, CMYK is converted without a profile; the EXIF
    rotation is not applied, as in the official codes. Of more than 8 bits ``value_range`` becomes
    0 to 255; without it 16 bits keep their high byte, where Pillow's own conversion would clip grey
    to white. ``data`` is the file, without which colours of 16 bits are not seen. Raises ValueError
    for other depths.
    """
    values = deep_values(image, data)
    if values is None:
        return image.convert('RGB'), ''
    warning = dark(values) if value_range is None else ''
    return Image.fromarray(eight_bits(values, value_range)).convert('RGB'), warning


class EncodedImage:
    """An image file: the size is read at once, the pixels on demand.

    JPEGs are decoded at reduced size where that suffices. ``value_range`` is `to_rgb`'s; ``once``
    tells of images that are nearly black and of pages that are left out. Raises UnreadableImage,
    naming the file and the cause, when the file is damaged, is in none of ``formats`` or has more
    than ``max_pixels`` pixels by its header; an image with pixels that the file lacks is never
    returned.
    """

    def __init__(
        self,
        data: bytes,
        name: str = '',
        max_pixels: int | None = MAX_PIXELS,
        value_range: tuple[float, float] | None = None,
        once: Once | None = None,
        formats: tuple[str, ...] = FORMATS,
    ) -> None:
        self.data = data
        self.name = name
        self.max_pixels = max_pixels
        self.value_range = value_range
        self.once = once
        self.formats = formats
        self.header = jpeg_header(data)
        # a grey or RGB JPEG: OpenCV decodes it, at reduced size too, and the size is known by now
        self.fast_decodable = self.header is not None and self.header.channels in (1, 3)
        if self.header is not None and self.fast_decodable:
            self.size = self.header[:2]
            try:
                check_jpeg(self.header)
                check_size(*self.size, max_pixels)
            except ValueError as error:
                raise self.broken(error) from None
        else:
            self.size = self.pil.size

    def broken(self, cause: object) -> UnreadableImage:
        """Return the UnreadableImage to raise for this file."""
        return UnreadableImage(f'{self.name}: {cause}', key='file', value=self.name)

    def _say(self, kind: str, message: str) -> None:
        if message and self.once is not None:
            self.once.say(kind, f'{self.name}: {message}')

    @property
    def width(self) -> int:
        """Width in pixels of the file, before any rotation."""
        return self.size[0]

    @property
    def height(self) -> int:
        """Height in pixels of the file, before any rotation."""
        return self.size[1]

    @property
    def preview(self) -> Image.Image:
        """The image to be looked at, RGB."""
        return self.pil

    @cached_property
    def pil(self) -> Image.Image:
        """The image decoded by Pillow, RGB. Raises UnreadableImage when it cannot be decoded."""
        try:
            with opened(self.data, self.max_pixels, self.formats) as image:
                decoded, warning = to_rgb(image, self.value_range, self.data)
                pages = image.format == 'TIFF' and image.is_animated  # type: ignore[attr-defined]
        except ValueError as error:
            raise self.broken(error) from None
        self._say('dark', warning)
        if pages:
            self._say('pages', 'of several pages the first is used')
        if self.header is not None:
            self._check_end(np.asarray(decoded))
        return decoded

    def pixels(self, reduce: int = 1) -> NDArray[Any]:
        """Return the image decoded by OpenCV, uint8 (H, W, 3), sides divided by 1, 2, 4 or 8.

        Raises UnreadableImage when it cannot be decoded.
        """
        if not self.fast_decodable:
            return np.asarray(self.pil)  # `reduce` is asked of JPEGs only
        flags = REDUCED[reduce] | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = None
        with suppress(cv2.error):
            decoded = cv2.imdecode(np.frombuffer(self.data, np.uint8), flags)
        if decoded is None:
            self.pil.load()  # says what is wrong with it
            return np.asarray(self.pil)
        self._check_end(decoded)
        found: NDArray[Any] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) if reduce > 1 else decoded
        return found

    def _check_end(self, decoded: NDArray[Any]) -> None:
        """Refuse a JPEG whose data ran out before its end marker: decoders fill with grey."""
        end = decoded[-FLAT // 2 :, -FLAT // 2 :]
        if (end == 128).all() and (cause := _decoder_messages(self.data)):
            raise self.broken(cause)


def as_pil(image: 'EncodedImage | Image.Image') -> Image.Image:
    """Return the Pillow image of either type."""
    return image.pil if isinstance(image, EncodedImage) else image
