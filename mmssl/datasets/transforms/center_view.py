"""Centre crop for evaluation, and random crop with flip for linear probes."""

from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import functional as TF

from ...core import UserError
from ...registry import TRANSFORMS
from ..encoded_image import EncodedImage, as_pil
from .checks import check_size
from .multi_view import pack, to_bytes
from .pillow_backend import INTERPOLATIONS
from .random_view import PIXELS, RandomView, check_interpolation, check_pixels, decode


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
        self.interpolation = INTERPOLATIONS[check_interpolation(interpolation)]

    def view(self, image: EncodedImage | Image.Image) -> Image.Image:
        """Return the centre view of an image, RGB of ``size`` x ``size`` pixels, by Pillow."""
        image = as_pil(image)
        w, h = image.size
        short = min(w, h)
        # torchvision's rounding: the long side is truncated, after the product
        w, h = (int(self.resize * side / short) for side in (w, h))
        return TF.center_crop(image.resize((w, h), self.interpolation), [self.size])

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed centre view of ``item['image']``, uint8 (3, size, size)."""
        return pack(to_bytes(np.array(self.view(item['image']))), item)


@TRANSFORMS.register_module()
class TrainView(RandomView):
    """One random crop with flip, for training linear probes; the arguments are RandomView's.

    ``pixels`` is 'fast' or 'exact', as MultiView's. Raises UserError when it is another word, and
    as RandomView does.
    """

    def __init__(self, size: int = 224, pixels: str = 'fast', **view: Any) -> None:
        super().__init__(size, **{'gray': 0.0, **view})
        self.pixels = check_pixels(pixels, PIXELS[:2])

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed random view of ``item['image']``, uint8 (3, size, size)."""
        image = item['image']
        params = self.sample_params(image.width, image.height, item['rng'])
        source, reduce = decode(image, self.pixels, [params], [self.size])
        return pack(to_bytes(self.apply(source, params, self.pixels, reduce)), item)
