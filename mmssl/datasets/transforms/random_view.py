"""One random view of an image, as every method here draws it."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from ...core import UserError
from ...registry import TRANSFORMS

INTERPOLATIONS = {
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'nearest': Image.Resampling.NEAREST,
}
JITTERS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


@dataclass(frozen=True)
class Drawn:
    """The numbers of one view: all that is random, before any pixel is touched.

    box (x, y, w, h) in source pixels; jitter ((operation index, factor), ...) in the order they
    are applied; blur the radius in pixels.
    """

    box: tuple[int, int, int, int]
    flip: bool
    jitter: tuple[tuple[int, float], ...] = ()
    gray: bool = False
    blur: float | None = None
    solarize: bool = False


def draw_box(
    width: int,
    height: int,
    scale: Sequence[float],
    ratio: Sequence[float],
    rng: random.Random,
) -> tuple[int, int, int, int]:
    """Draw (x, y, w, h): area share U(scale), log-uniform aspect ratio, 10 tries, else centred.

    The rule of torchvision's RandomResizedCrop.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, width - w), rng.randint(0, height - h), w, h
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (width - w) // 2, (height - h) // 2, w, h


@TRANSFORMS.register_module()
class RandomView:
    """Crop, flip, colour jitter, grey, blur, solarise: one op order for all methods.

    ``jitter`` is (brightness, contrast, saturation, hue), applied in random order with
    probability ``jitter_p``; ``gray``, ``blur``, ``solarize`` and ``flip`` are probabilities;
    ``sigma`` is the range of the blur radius in pixels. ``gray_first`` is MoCo v1's order.
    ``repeat`` asks MultiView for several such views. `draw` takes the numbers, `apply` makes
    the pixels; the flip commutes with every colour operation, so recipes that flip last agree.
    """

    def __init__(
        self,
        size: int = 224,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = 'bilinear',
        flip: float = 0.5,
        jitter: Sequence[float] | None = None,
        jitter_p: float = 0.8,
        gray: float = 0.2,
        blur: float = 0.0,
        sigma: Sequence[float] = (0.1, 2.0),
        solarize: float = 0.0,
        gray_first: bool = False,
    ) -> None:
        if interpolation not in INTERPOLATIONS:
            raise UserError(
                f"interpolation '{interpolation}' is unknown; use {', '.join(INTERPOLATIONS)}"
            )
        if not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(f'crop scale {tuple(scale)}: give shares 0 < smallest <= largest <= 1')
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)
        self.interpolation, self.flip = INTERPOLATIONS[interpolation], flip
        self.jitter, self.jitter_p, self.gray = jitter, jitter_p, gray
        self.blur, self.sigma, self.solarize = blur, tuple(sigma), solarize
        self.gray_first = gray_first

    def draw(self, width: int, height: int, rng: random.Random) -> Drawn:
        """Draw the numbers of one view of an image of ``width`` x ``height`` pixels."""
        box = draw_box(width, height, self.scale, self.ratio, rng)
        flip = rng.random() < self.flip
        jitter = self._draw_jitter(rng) if rng.random() < self.jitter_p else ()
        gray = rng.random() < self.gray
        blur = rng.uniform(*self.sigma) if rng.random() < self.blur else None
        return Drawn(box, flip, jitter, gray, blur, rng.random() < self.solarize)

    def _draw_jitter(self, rng: random.Random) -> tuple[tuple[int, float], ...]:
        if not self.jitter:
            return ()
        order = [0, 1, 2, 3]
        rng.shuffle(order)
        factors = []
        for i, amount in enumerate(self.jitter):
            low, high = (-amount, amount) if i == 3 else (max(0.0, 1 - amount), 1 + amount)
            factors.append(rng.uniform(low, high))
        return tuple((i, factors[i]) for i in order if self.jitter[i])

    def apply(self, image: Image.Image, drawn: Drawn) -> Image.Image:
        """Make the view: a PIL image of ``size`` x ``size`` pixels."""
        x, y, w, h = drawn.box
        # crop first: Pillow's own box argument would let the filter read outside the crop
        image = image.crop((x, y, x + w, y + h)).resize((self.size,) * 2, self.interpolation)
        if drawn.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if drawn.gray and self.gray_first:
            image = TF.to_grayscale(image, 3)
        for i, factor in drawn.jitter:
            image = JITTERS[i](image, factor)
        if drawn.gray and not self.gray_first:
            image = TF.to_grayscale(image, 3)
        if drawn.blur is not None:
            image = image.filter(ImageFilter.GaussianBlur(drawn.blur))
        return ImageOps.solarize(image) if drawn.solarize else image
