"""Views of an image with its segmentation mask: random crop to train, whole image to test."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...core import UserError
from ...registry import TRANSFORMS
from ..encoded_image import EncodedImage, as_pil
from ..sources.base import UnreadableImage
from . import opencv_backend
from .checks import check_size, refuse_channels
from .multi_view import pack, to_bytes
from .pillow_backend import INTERPOLATIONS
from .random_view import PIXELS, RandomView, check_interpolation, check_pixels, decode


def mask_of(item: dict[str, Any]) -> NDArray[Any]:
    """Return the item's mask, int (H, W).

    Raises UserError when there is none, UnreadableImage when its size is not the image's.
    """
    image = item['image']
    mask = item.get('label')
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        raise UserError(
            f'{item["path"]}: comes without a mask; segmentation needs a source with masks, '
            "dataset.source=dict(type='ImageNetSSource')",
            key='dataset.source',
            value=None,
        )
    height, width = mask.shape
    if (width, height) != (image.width, image.height):
        raise UnreadableImage(
            f'{item["path"]}: {image.width} x {image.height} pixels, but its mask has '
            f'{width} x {height}'
        )
    return mask.numpy()


@TRANSFORMS.register_module()
class SegmentTrainView(RandomView):
    """One random view and the same crop of its mask; the arguments are RandomView's.

    ``pixels`` is 'fast' or 'exact', as MultiView's. Raises UserError when it is another word, and
    as RandomView does.
    """

    def __init__(self, size: int = 224, pixels: str = 'fast', **view: Any) -> None:
        super().__init__(size, **view)
        self.pixels = check_pixels(pixels, PIXELS[:2])

    def check_channels(self, channels: int, deep: bool) -> None:
        """Raise UserError for images that are not RGB of 8 bits."""
        refuse_channels(self, channels, deep)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed view, uint8 (3, size, size), and its mask, int64 (size, size).

        Raises UserError when the item has no mask.
        """
        image = item['image']
        mask = mask_of(item)
        params = self.sample_params(image.width, image.height, item['rng'])
        source, reduce = decode(image, self.pixels, [params], [self.size])
        # OpenCV resizes no int64
        cropped = opencv_backend.crop(mask.astype(np.int16), params, self.size, 'nearest')
        item['label'] = torch.from_numpy(cropped.astype(np.int64))
        return pack(to_bytes(self.apply(source, params, self.pixels, reduce)), item)


@TRANSFORMS.register_module()
class SegmentTestView:
    """The whole image, its short side ``resize`` pixels; the mask keeps its size.

    Raises UserError when it is no number of pixels or the interpolation is unknown.
    """

    def __init__(self, resize: int = 256, interpolation: str = 'bilinear') -> None:
        self.resize = check_size(resize, 'resize')
        self.interpolation = INTERPOLATIONS[check_interpolation(interpolation)]

    def view(self, image: EncodedImage | Image.Image) -> Image.Image:
        """Return the resized image, its short side ``resize`` pixels, by Pillow."""
        image = as_pil(image)
        short = min(image.size)
        w, h = (int(self.resize * side / short) for side in image.size)
        return image.resize((w, h), self.interpolation)

    def check_channels(self, channels: int, deep: bool) -> None:
        """Raise UserError for images that are not RGB of 8 bits."""
        refuse_channels(self, channels, deep)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed image, uint8 (3, h, w), and its mask, int64 (H, W).

        Raises UserError when the item has no mask.
        """
        mask_of(item)
        return pack(to_bytes(np.array(self.view(item['image']))), item)
