"""One random view of an image, as every method here draws it."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ...core import UserError
from ...registry import TRANSFORMS
from ..picture import Picture, as_pil
from . import exact, fast
from .draw import HUE, Drawn, draw_box
from .fast import reduction

PIXELS = ('fast', 'exact', 'device')


def check_interpolation(name: str) -> str:
    """Return the name of a known interpolation. Raises UserError for others."""
    if name not in exact.INTERPOLATIONS:
        known = ', '.join(exact.INTERPOLATIONS)
        raise UserError(f"interpolation '{name}' is unknown; use {known}")
    return name


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
        if not 0 < scale[0] <= scale[1] <= 1:
            raise UserError(f'crop scale {tuple(scale)}: give shares 0 < smallest <= largest <= 1')
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)
        self.interpolation, self.flip = check_interpolation(interpolation), flip
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
        solarize = rng.random() < self.solarize
        return Drawn(box, flip, jitter, gray, blur, solarize, self.gray_first)

    def _draw_jitter(self, rng: random.Random) -> tuple[tuple[int, float], ...]:
        if not self.jitter:
            return ()
        order = [0, 1, 2, 3]
        rng.shuffle(order)
        factors = []
        for i, amount in enumerate(self.jitter):
            low, high = (-amount, amount) if i == HUE else (max(0.0, 1 - amount), 1 + amount)
            factors.append(rng.uniform(low, high))
        return tuple((i, factors[i]) for i in order if self.jitter[i])

    def apply(self, image: Any, drawn: Drawn, pixels: str = 'fast', reduce: int = 1) -> np.ndarray:
        """Make the view of an image that `decode` gave, uint8 (size, size, 3).

        ``pixels`` is how: 'fast' (OpenCV), 'exact' (Pillow) or 'device', without the colours.
        """
        if pixels == 'exact':
            return exact.color(exact.crop(image, drawn, self.size, self.interpolation), drawn)
        view = fast.crop(np.asarray(image), drawn, self.size, self.interpolation, reduce)
        return view if pixels == 'device' else fast.color(view, drawn)


def decode(image: Picture | Image.Image, pixels: str, drawn: list[Drawn], sizes: list[int]) -> Any:
    """Return what `RandomView.apply` makes all views of an image from, and by how much smaller."""
    if pixels == 'exact':
        return as_pil(image), 1
    if not isinstance(image, Picture):
        return np.asarray(image), 1
    reduce = reduction(drawn, sizes) if image.quick else 1
    return image.pixels(reduce), reduce


def check_pixels(pixels: str, known: Sequence[str] = PIXELS) -> str:
    """Return the name of a way to make pixels. Raises UserError for others."""
    if pixels not in known:
        raise UserError(f"pixels='{pixels}' is unknown; use {', '.join(known)}")
    return pixels
