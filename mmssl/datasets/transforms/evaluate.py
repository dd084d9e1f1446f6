"""Views for evaluation and supervised training."""

from typing import Any

from PIL import Image
from torchvision.transforms import functional as TF

from ...core import UserError
from ...registry import TRANSFORMS
from .multi_view import pack, to_bytes
from .random_view import INTERPOLATIONS, RandomView


@TRANSFORMS.register_module()
class CenterView:
    """Resize the short side to ``resize`` pixels and crop the centre ``size`` x ``size``.

    ``resize`` defaults to size * 256 / 224.
    """

    def __init__(
        self, size: int = 224, resize: int | None = None, interpolation: str = 'bicubic'
    ) -> None:
        if interpolation not in INTERPOLATIONS:
            raise UserError(
                f"interpolation '{interpolation}' is unknown; use {', '.join(INTERPOLATIONS)}"
            )
        self.size, self.resize = size, resize or round(size * 256 / 224)
        if self.resize < size:
            raise UserError(f'resize={resize} is smaller than the crop size={size}')
        self.interpolation = INTERPOLATIONS[interpolation]

    def view(self, image: Image.Image) -> Image.Image:
        """Return the centre view of a PIL image."""
        w, h = image.size
        short = min(w, h)
        # torchvision's rounding: the long side is truncated, after the product
        w, h = (int(self.resize * side / short) for side in (w, h))
        return TF.center_crop(image.resize((w, h), self.interpolation), [self.size])

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed centre view, uint8 (3, size, size)."""
        return pack(to_bytes(self.view(item['image'])), item)


@TRANSFORMS.register_module()
class TrainView(RandomView):
    """One random crop with flip, as linear probes train on; the arguments are RandomView's."""

    def __init__(self, size: int = 224, **view: Any) -> None:
        super().__init__(size, **{'gray': 0.0, **view})

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed random view, uint8 (3, size, size)."""
        image = item['image']
        return pack(
            to_bytes(self.apply(image, self.draw(image.width, image.height, item['rng']))), item
        )
