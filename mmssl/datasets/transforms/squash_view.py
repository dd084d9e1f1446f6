"""Whole image as a square, for evaluation of dense features and of networks that crop nothing."""

from typing import Any

import numpy as np
from PIL import Image

from ...registry import TRANSFORMS
from ..encoded_image import EncodedImage, as_pil
from .checks import check_size
from .multi_view import pack, to_bytes
from .pillow_backend import INTERPOLATIONS
from .random_view import check_interpolation


@TRANSFORMS.register_module()
class SquashView:
    """Resize an image to ``size`` x ``size``, whatever its sides: timm's crop mode 'squash'.

    Raises UserError when the interpolation is unknown.
    """

    def __init__(self, size: int = 224, interpolation: str = 'bicubic') -> None:
        self.size = check_size(size)
        self.interpolation = INTERPOLATIONS[check_interpolation(interpolation)]

    def view(self, image: EncodedImage | Image.Image) -> Image.Image:
        """Return the whole image, RGB of ``size`` x ``size`` pixels, by Pillow."""
        return as_pil(image).resize((self.size, self.size), self.interpolation)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed view of ``item['image']``, uint8 (3, size, size)."""
        return pack(to_bytes(np.array(self.view(item['image']))), item)
