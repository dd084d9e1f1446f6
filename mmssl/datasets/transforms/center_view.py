"""Centre crop for evaluation, and random crop with flip for linear probes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import functional as TF

from ...core import UserError
from ...registry import TRANSFORMS
from ..channel_image import ChannelImage
from ..encoded_image import EncodedImage, as_pil
from . import opencv_backend
from .checks import check_size
from .multi_view import pack, to_bytes
from .pillow_backend import INTERPOLATIONS
from .random_view import (
    PIXELS,
    RandomView,
    check_interpolation,
    check_pixels,
    check_way,
    decode,
)


@TRANSFORMS.register_module()
class CenterView:
    """Resize the short side to ``resize`` pixels and crop the centre ``size`` x ``size``.

    ``resize`` defaults to size * 256 / 224. Raises UserError when it is below ``size`` or the
    interpolation is unknown.
    """

    def __init__(
        self, size: int = 224, resize: int | None = None, interpolation: str = 'bicubic'
    ) -> None:
        self.size = check_size(size)
        self.resize = round(size * 256 / 224) if resize is None else check_size(resize, 'resize')
        if self.resize < size:
            raise UserError(
                f'resize={resize} is smaller than the crop size={size}; give at least {size}',
                key='resize',
                value=resize,
            )
        self.name = check_interpolation(interpolation)
        self.interpolation = INTERPOLATIONS[self.name]

    def view(self, image: EncodedImage | Image.Image) -> Image.Image:
        """Return the centre view of an image, RGB of ``size`` x ``size`` pixels, by Pillow."""
        image = as_pil(image)
        resized = image.resize(self._resized(*image.size), self.interpolation)
        found: Image.Image = TF.center_crop(resized, [self.size])
        return found

    def channel_view(self, image: ChannelImage) -> NDArray[Any]:
        """Return the centre view of an image of C channels (size, size, C), uint8 or uint16."""
        width, height = self._resized(*image.size)
        pixels = opencv_backend.resize(image.array, height, width, self.name)
        top, left = (round((side - self.size) / 2.0) for side in (height, width))
        return pixels[top : top + self.size, left : left + self.size]

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height after resizing, by torchvision's rounding."""
        short = min(width, height)
        # the long side is truncated, after the product
        return int(self.resize * width / short), int(self.resize * height / short)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed centre view of ``item['image']``, uint8 (3, size, size)."""
        image = item['image']
        if isinstance(image, ChannelImage):
            return pack(to_bytes(np.ascontiguousarray(self.channel_view(image))), item)
        return pack(to_bytes(np.array(self.view(image))), item)


@TRANSFORMS.register_module()
class TrainView(RandomView):
    """One random crop with flip, for training linear probes; the arguments are RandomView's.

    ``pixels`` is 'fast' or 'exact', as MultiView's. Raises UserError when it is another word, and
    as RandomView does.
    """

    def __init__(self, size: int = 224, pixels: str = 'fast', **view: Any) -> None:
        super().__init__(size, **{'gray': 0.0, **view})
        self.pixels = check_pixels(pixels, PIXELS[:2])

    def check_channels(self, channels: int, deep: bool) -> None:
        """Raise UserError where images of so many channels, ``deep`` of 16 bits, have no views."""
        check_way(self.pixels, channels, deep)
        self.check_colors(channels)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed random view of ``item['image']``, uint8 (3, size, size)."""
        image = item['image']
        params = self.sample_params(image.width, image.height, item['rng'])
        source, reduce = decode(image, self.pixels, [params], [self.size])
        return pack(to_bytes(self.apply(source, params, self.pixels, reduce)), item)
