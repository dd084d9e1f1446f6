"""Images of more than 8 bits a channel: their values, and how these become 8 bits."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..core import UserError
from .image_formats import PNG_SIGN, bits_of_tiff

HIGHEST = 0xFFFF
SMALL = (HIGHEST + 1) // 8  # values below: an image of 16 bits uses less than an eighth of them
# BGR: of compressed TIFFs of 16 bits IMREAD_COLOR_RGB returns other values
UNCHANGED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION


def check_range(value_range: Any) -> tuple[float, float] | None:
    """Return the values that become 0 and 255. Raises UserError unless they are None or two."""
    if value_range is None:
        return None
    pair = isinstance(value_range, (tuple, list)) and len(value_range) == 2
    if not pair or not all(type(value) in (int, float) for value in value_range):
        raise UserError(
            f'LoadImage(value_range={value_range}): give (low, high), the values that become 0 '
            'and 255, such as (0, 4095)',
            key='value_range',
            value=value_range,
        )
    low, high = value_range
    if not 0 < high - low < float('inf'):
        raise UserError(
            f'LoadImage(value_range={value_range}): give (low, high) with low < high',
            key='value_range',
            value=value_range,
        )
    return low, high


def deep_values(image: Image.Image, data: bytes = b'') -> NDArray[Any] | None:
    """Return the values (H, W) or (H, W, 3) of an image of more than 8 bits, else None.

    Colours are decoded from ``data``, the file, as Pillow keeps 8 bits of them; without it, or
    where OpenCV reads fewer bits, they are not seen.
    """
    if image.mode.startswith('I') or image.mode == 'F':
        return np.asarray(image)
    if not _deep_colours(image, data):
        return None
    values = cv2.imdecode(np.frombuffer(data, np.uint8), UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return None
    found: NDArray[Any] | None = values[..., ::-1]
    return found


def _deep_colours(image: Image.Image, data: bytes) -> bool:
    """Whether a file has colours, or grey with alpha, of 16 bits."""
    if data.startswith(PNG_SIGN):
        return data[24:25] == b'\x10'
    if data and image.format == 'TIFF':
        return bits_of_tiff(image) == 16
    return False


def eight_bits(values: NDArray[Any], value_range: tuple[float, float] | None) -> NDArray[Any]:
    """Return values as uint8: ``value_range`` becomes 0 to 255, without it the high byte of 16.

    Raises ValueError for values whose range is neither stated nor that of 16 bits.
    """
    if value_range is not None:
        low, high = value_range
        shares = (values.astype(np.float64) - low) / (high - low)
        found: NDArray[Any] = np.rint(255 * np.nan_to_num(shares).clip(0, 1)).astype(np.uint8)
        return found
    if values.dtype.kind == 'f' or values.min() < 0 or values.max() > HIGHEST:
        raise ValueError(
            f'pixels of type {values.dtype} have no known range; state it by '
            'LoadImage(value_range=(low, high))'
        )
    return (values.astype(np.uint32) >> 8).astype(np.uint8)


def dark(values: NDArray[Any]) -> str:
    """Return a warning about an image whose values fill under an eighth of 16 bits, else ''."""
    highest = int(values.max()) if values.dtype.kind in 'iu' else 0
    if not 0 < highest < SMALL:
        return ''
    top = 2 ** highest.bit_length() - 1
    return (
        f'16 bits, but no value above {highest}: it becomes nearly black (0 to {highest >> 8} of '
        f'255); state the range of the images, such as LoadImage(value_range=(0, {top}))'
    )
