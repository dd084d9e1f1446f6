"""Random parameters of one view (crop, flip, colours), sampled before any pixel is touched."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.color_ops import MAX_OPS, NO_OP, ColorOp


@dataclass(frozen=True)
class ViewParams:
    """The random parameters of a view.

    box (x, y, w, h) in source pixels; jitter ((operation, factor), ...) in the order they are
    applied; blur is sigma in pixels; ``gray_first`` puts grey before the jitter.
    """

    box: tuple[int, int, int, int]
    flip: bool
    jitter: tuple[tuple[ColorOp, float], ...] = ()
    gray: bool = False
    blur: float | None = None
    solarize: bool = False
    gray_first: bool = False

    @property
    def color_ops(self) -> tuple[tuple[ColorOp, float], ...]:
        """Return (operation, factor) of jitter and grey in the order they are applied."""
        gray = ((ColorOp.GRAY, 1.0),) if self.gray else ()
        return gray + self.jitter if self.gray_first else self.jitter + gray

    def color_params(self) -> list[float]:
        """Return the colours as one row of numbers (12), as `mmssl.core.color_ops` describes it.

        For colours applied on the device; operations and factors are those of `color_ops`.
        """
        missing = MAX_OPS - len(self.color_ops)
        order = [float(op) for op, _ in self.color_ops] + [float(NO_OP)] * missing
        factors = [factor for _, factor in self.color_ops] + [0.0] * missing
        return [*order, *factors, self.blur or 0.0, float(self.solarize)]


def sample_box(
    width: int,
    height: int,
    scale: Sequence[float],
    ratio: Sequence[float],
    rng: random.Random,
) -> tuple[int, int, int, int]:
    """Return a random box (x, y, w, h) in pixels, by the rule of torchvision's RandomResizedCrop.

    The share of the area is U(scale), the aspect ratio log-uniform; after 10 failed tries the box
    is centred.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w = round(math.sqrt(area * aspect))
        h = round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, width - w), rng.randint(0, height - h), w, h
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (width - w) // 2, (height - h) // 2, w, h
