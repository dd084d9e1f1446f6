"""Random view of an image: crop, flip, colour jitter, grey, blur, solarise."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...core import UserError
from ...core.color_ops import JITTER_OPS, ColorOp
from ...registry import TRANSFORMS
from ..encoded_image import EncodedImage, as_pil
from . import opencv_backend, pillow_backend
from .checks import check_jitter, check_share, check_size, check_span
from .opencv_backend import reduction
from .view_params import ViewParams, sample_box

PIXELS = ('fast', 'exact', 'device')


def check_interpolation(name: str) -> str:
    """Return the name of an interpolation. Raises UserError when it is unknown."""
    if name not in pillow_backend.INTERPOLATIONS:
        known = ', '.join(pillow_backend.INTERPOLATIONS)
        raise UserError(
            f"interpolation '{name}' is unknown; use {known}", key='interpolation', value=name
        )
    return name


@TRANSFORMS.register_module()
class RandomView:
    """Crop, flip, colour jitter, grey, blur, solarise, in this order for all methods.

    ``jitter`` is (brightness, contrast, saturation, hue), applied in random order with
    probability ``jitter_p``; ``gray``, ``blur``, ``solarize`` and ``flip`` are probabilities;
    ``sigma`` is the range of the blur radius in pixels. ``gray_first`` is MoCo v1's order.
    `sample_params` draws the random numbers, `apply` makes the pixels; the flip commutes with
    every colour operation, so recipes that flip last agree. Raises UserError when a setting is out
    of range or the interpolation is unknown.
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
        self.size = check_size(size)
        self.scale = check_span(scale, 'scale', highest=1)
        self.ratio = check_span(ratio, 'ratio')
        self.interpolation = check_interpolation(interpolation)
        self.flip = check_share(flip, 'flip')
        self.jitter = check_jitter(jitter)
        self.jitter_p = check_share(jitter_p, 'jitter_p')
        self.gray = check_share(gray, 'gray')
        self.blur = check_share(blur, 'blur')
        self.sigma = check_span(sigma, 'sigma')
        self.solarize = check_share(solarize, 'solarize')
        self.gray_first = gray_first

    def check_colors(self, channels: int) -> None:
        """Raise UserError for a colour operation that images of so many channels do not have."""
        if channels == 3:
            return
        brightness, contrast, saturation, hue = self.jitter or (0, 0, 0, 0)
        given = dict(saturation=saturation, hue=hue, gray=self.gray)
        names = [name for name, amount in given.items() if amount]
        if names:
            key = 'gray' if names == ['gray'] else 'jitter'
            raise UserError(
                f'{type(self).__name__}: {" and ".join(names)} of {channels} channels: only RGB '
                f'has them; give jitter=({brightness}, {contrast}, 0, 0) and gray=0',
                key=key,
                value=getattr(self, key),
            )

    def sample_params(self, width: int, height: int, rng: random.Random) -> ViewParams:
        """Sample the parameters of one view of an image of ``width`` x ``height`` pixels."""
        box = sample_box(width, height, self.scale, self.ratio, rng)
        flip = rng.random() < self.flip
        jitter = self._sample_jitter(rng) if rng.random() < self.jitter_p else ()
        gray = rng.random() < self.gray
        blur = rng.uniform(*self.sigma) if rng.random() < self.blur else None
        solarize = rng.random() < self.solarize
        return ViewParams(box, flip, jitter, gray, blur, solarize, self.gray_first)

    def _sample_jitter(self, rng: random.Random) -> tuple[tuple[ColorOp, float], ...]:
        if not self.jitter:
            return ()
        order = list(JITTER_OPS)
        rng.shuffle(order)
        factors: dict[ColorOp, float] = {}
        for op, amount in zip(JITTER_OPS, self.jitter, strict=True):
            if op == ColorOp.HUE:
                factors[op] = rng.uniform(-amount, amount)
            else:
                factors[op] = rng.uniform(max(0.0, 1 - amount), 1 + amount)
        return tuple((op, factors[op]) for op in order if self.jitter[op])

    def apply(
        self, image: Any, params: ViewParams, pixels: str = 'fast', reduce: int = 1
    ) -> NDArray[Any]:
        """Make the view of an image from `decode`: (H, W, C) -> (size, size, C), uint8 or uint16.

        ``pixels`` is 'fast' (OpenCV), 'exact' (Pillow) or 'device' (OpenCV, without the colours).
        """
        if pixels == 'exact':
            cropped = pillow_backend.crop(image, params, self.size, self.interpolation)
            return pillow_backend.apply_color(cropped, params)
        view = opencv_backend.crop(np.asarray(image), params, self.size, self.interpolation, reduce)
        return view if pixels == 'device' else opencv_backend.apply_color(view, params)


def decode(
    image: EncodedImage | Image.Image, pixels: str, params: list[ViewParams], sizes: list[int]
) -> Any:
    """Decode an image once for all its views; return it and ``reduce``, for `RandomView.apply`.

    The image is Pillow's for 'exact', else an array (H / reduce, W / reduce, C), uint8 or uint16.
    """
    if pixels == 'exact':
        return as_pil(image), 1
    if not isinstance(image, EncodedImage):
        return np.asarray(image), 1
    reduce = reduction(params, sizes) if image.fast_decodable else 1
    return image.pixels(reduce), reduce


def check_way(pixels: str, channels: int, deep: bool) -> None:
    """Raise UserError where a way to make views does not take such channels, or 16 bits."""
    bits = 16 if deep else 8
    if (channels, bits) != (3, 8) and pixels != 'fast':
        raise UserError(
            f"pixels='{pixels}' makes views of RGB of 8 bits, not of {channels} channels of "
            f"{bits}; use 'fast'",
            key='pixels',
            value=pixels,
        )


def check_pixels(pixels: str, known: Sequence[str] = PIXELS) -> str:
    """Return ``pixels``, the way to make views. Raises UserError when it is not among ``known``."""
    if pixels not in known:
        raise UserError(
            f"pixels='{pixels}' is unknown; use {', '.join(known)}", key='pixels', value=pixels
        )
    return pixels
