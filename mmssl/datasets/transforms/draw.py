"""The numbers of one view, drawn before any pixel is touched."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAY = range(5)
STEPS = 5  # colour operations a view has at most
RECORD = 2 * STEPS + 2


@dataclass(frozen=True)
class Drawn:
    """All that is random in a view.

    box (x, y, w, h) in source pixels; jitter ((operation index, factor), ...) in the order they
    are applied; blur the radius in pixels; ``gray_first`` puts grey before the jitter.
    """

    box: tuple[int, int, int, int]
    flip: bool
    jitter: tuple[tuple[int, float], ...] = ()
    gray: bool = False
    blur: float | None = None
    solarize: bool = False
    gray_first: bool = False

    @property
    def steps(self) -> tuple[tuple[int, float], ...]:
        """Return jitter and grey in the order they are applied."""
        gray = ((GRAY, 1.0),) if self.gray else ()
        return gray + self.jitter if self.gray_first else self.jitter + gray

    def record(self) -> list[float]:
        """Return the colours as numbers: five operations (-1 none), their values, blur, solarise.

        What a batch on the device needs; the values are those `steps` gives.
        """
        steps = [*self.steps, *[(-1, 0.0)] * (STEPS - len(self.steps))]
        order, values = zip(*steps, strict=True)
        return [*order, *values, self.blur or 0.0, float(self.solarize)]


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
