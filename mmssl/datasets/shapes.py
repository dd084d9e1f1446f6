"""Synthetic data of textured shapes: labelled images, and scenes with visible masks.

A class is a shape and its texture. Colours, place, size, angle, background and strokes are sampled
without looking at the class, and colours come from two families only: colour then tells little
about which image a crop is from, and a network has to look at texture. An image depends on
(seed, split, index, label, size) alone. Its pixels are the same on every machine, because only
exactly rounded operations (+ - * / sqrt floor) and PCG64's raw bits are used: no sin, no BLAS.

Legend: H, W image; N objects.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]

VERSION = 1  # of the images: one changed pixel makes it 2
SPLITS = ('train', 'val')
_HUES = -0.1, 2.9  # where reds to yellows and greens to blues begin, in sixths of a turn


class PortableRandom:
    """Uniform numbers from the raw bits of PCG64, a stream that numpy guarantees not to change."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def table(self, *shape: int) -> Plane:
        """Return numbers in [0, 1), float64 of the given shape (d0, d1, ...)."""
        raw = self._bits.random_raw(math.prod(shape)) >> np.uint64(11)
        return raw.reshape(shape).astype(np.float64) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Return one number in [low, high)."""
        return low + (high - low) * float(self.table(1)[0])

    def below(self, count: int) -> int:
        """Return one integer in [0, count)."""
        return int(self.uniform(0, count))

    def direction(self) -> tuple[float, float]:
        """Return a unit vector of uniform angle, by rejection so that no sine is needed."""
        while True:
            x = self.uniform(-1, 1)
            y = self.uniform(-1, 1)
            length = math.sqrt(x * x + y * y)
            if 0.1 < length < 1:
                return x / length, y / length


def _frac(x: Plane) -> Plane:
    found: Plane = x - np.floor(x)
    return found


def _length(x: Plane, y: Plane) -> Plane:
    return np.sqrt(x * x + y * y)


def _star(x: Plane, y: Plane) -> Plane:
    """Inside at least four of five half-planes, 72 degrees apart."""
    a = 0.5877853 * x
    b = 0.9510565 * x
    c = 0.8090170 * y
    d = 0.3090170 * y
    found: Plane = np.sort(0.43 - np.stack([-y, a + c, c - a, b - d, -b - d]), axis=0)[1]
    return found


# How deep a point is inside a shape of radius 1, negative outside; all have much the same area.
_SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    'disc': lambda x, y: 0.9 - _length(x, y),
    'square': lambda x, y: 0.8 - np.maximum(abs(x), abs(y)),
    'triangle': lambda x, y: 0.66 - np.maximum(0.8660254 * abs(x) - 0.5 * y, y),
    'star': _star,
    'cross': lambda x, y: np.minimum(
        1.05 - np.maximum(abs(x), abs(y)), 0.4 - np.minimum(abs(x), abs(y))
    ),
    'ring': lambda x, y: 0.34 - abs(_length(x, y) - 0.64),
    'crescent': lambda x, y: np.minimum(1.1 - _length(x, y), _length(x - 0.62, y) - 0.75),
    'hexagon': lambda x, y: 0.86 - np.maximum(0.8660254 * abs(x) + 0.5 * abs(y), abs(y)),
}
CLASSES = tuple(_SHAPES)


def _wave(x: Plane) -> Plane:
    """Distance to the next edge of a square wave of period 1, its sign the tone."""
    return abs(_frac(x) - 0.5) - 0.25


def _checker(u: Plane, v: Plane) -> Plane:
    a = _wave(u * 0.75)
    b = _wave(v * 0.75)
    found: Plane = np.where(a * b > 0, 1.0, -1.0) * np.minimum(abs(a), abs(b)) / 0.75
    return found


def _dots(u: Plane, v: Plane) -> Plane:
    u = u * 0.85 + 0.5 * (np.floor(v * 0.85) % 2)
    v = v * 0.85
    return (0.36 - _length(_frac(u) - 0.5, _frac(v) - 0.5)) / 0.85


def _rays(u: Plane, v: Plane) -> Plane:
    a = abs(u) + 1e-9
    b = abs(v) + 1e-9
    t = np.minimum(a, b) / np.maximum(a, b)
    turn = t * (0.15476 - 0.03055 * t * t)  # atan(t) / 2 pi, to 0.001
    return _wave(14 * np.where(a > b, turn, 0.25 - turn)) * _length(u, v) * 0.45


def _blobs(u: Plane, v: Plane, table: Plane) -> Plane:
    """Value noise over a table (16, 16), cut at its middle."""
    u = u * 2.2
    v = v * 2.2
    i = np.floor(u).astype(int)
    j = np.floor(v).astype(int)
    a = u - i
    b = v - j
    a = a * a * (3 - 2 * a)
    b = b * b * (3 - 2 * b)
    i1 = (i + 1) % 16
    j1 = (j + 1) % 16
    i = i % 16
    j = j % 16
    above = table[j, i] * (1 - a) + table[j, i1] * a
    under = table[j1, i] * (1 - a) + table[j1, i1] * a
    found: Plane = (above * (1 - b) + under * b - 0.5) * 0.8
    return found


# One a class, in the order of CLASSES: distance to the edge between two tones, in periods.
_TEXTURES: tuple[Callable[[Plane, Plane, Plane], Plane], ...] = (
    lambda u, v, table: _wave(u),  # stripes
    lambda u, v, table: _checker(u, v),
    lambda u, v, table: _wave(_length(u, v)),  # rings
    lambda u, v, table: _dots(u, v),
    lambda u, v, table: 0.7 * _wave(u + 2 * abs(_frac(v * 0.5) - 0.5)),  # zigzag
    lambda u, v, table: _rays(u, v),
    _blobs,
    lambda u, v, table: (np.maximum(_wave(u * 0.9), _wave(v * 0.9)) - 0.1) / 0.9,  # grid
)


def _colour(hue: float, chroma: float, light: float) -> Plane:
    """RGB of the given luminance, hue in sixths of a turn, chroma cut where RGB ends: (3,)."""
    ramp = np.clip(abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    tint = ramp - (0.3 * ramp[0] + 0.59 * ramp[1] + 0.11 * ramp[2])
    room = np.where(tint > 0, 1 - light, light) / abs(tint)
    found: Plane = light + min(chroma, 0.95 * float(room.min())) * tint
    return found


def _tones(rng: PortableRandom, *lights: float) -> list[Plane]:
    """Colours of one family, one for each luminance."""
    low = _HUES[rng.below(2)]
    return [_colour(rng.uniform(low, low + 1), rng.uniform(0.2, 0.4), at) for at in lights]


def _pixels(size: int, x0: float = 0, y0: float = 0) -> tuple[Plane, Plane]:
    """Pixel centres seen from (x0, y0): x and y (H, W)."""
    axis = np.arange(size) + 0.5
    x, y = np.broadcast_arrays(axis - x0, axis[:, None] - y0)
    return x, y


def _blend(canvas: Plane, cover: Plane, colour: Plane) -> Plane:
    return canvas + cover[..., None] * (colour - canvas)


def _texture(rng: PortableRandom, kind: int, at: tuple[Plane, Plane], period: float) -> Plane:
    """Share of the first of two tones, period in pixels: (H, W)."""
    x, y = at
    a, b = rng.direction()
    u = (a * x + b * y) / period + rng.uniform(-0.5, 0.5)
    v = (a * y - b * x) / period + rng.uniform(-0.5, 0.5)
    return np.clip(_TEXTURES[kind](u, v, rng.table(16, 16)) * period + 0.5, 0, 1)


def _background(rng: PortableRandom, size: int, unit: float) -> Plane:
    """A faint texture of any kind; unit is the radius of an object in pixels: (H, W, 3)."""
    light = rng.uniform(0.3, 0.75)
    step = rng.uniform(0.0, 0.08)
    first, second = _tones(rng, light, light - step if light > 0.5 else light + step)
    at = _pixels(size, rng.uniform(0, size), rng.uniform(0, size))
    share = _texture(rng, rng.below(len(_TEXTURES)), at, unit * rng.uniform(0.25, 0.7))
    return _blend(np.broadcast_to(first, (size, size, 3)), share, second)


def _object(
    rng: PortableRandom, canvas: Plane, label: int, x0: float, y0: float, radius: float
) -> tuple[Plane, Mask]:
    """Draw one object: new canvas (H, W, 3) and the pixels at least half covered (H, W)."""
    x, y = _pixels(len(canvas), x0, y0)
    a, b = rng.direction()
    stretch = rng.uniform(0.8, 1.25)
    px = (a * x + b * y) / (radius * stretch)
    py = (a * y - b * x) * stretch / radius
    cover = np.clip(_SHAPES[CLASSES[label]](px, py) * radius + 0.5, 0, 1)
    lights = rng.uniform(0.12, 0.35), rng.uniform(0.65, 0.9)
    first, second = _tones(rng, *(lights if rng.below(2) else lights[::-1]))
    at = x - radius * rng.uniform(-0.6, 0.6), y - radius * rng.uniform(-0.6, 0.6)
    share = _texture(rng, label, at, radius * rng.uniform(0.34, 0.42))
    inside = _blend(np.broadcast_to(first, canvas.shape), share, second)
    return _blend(canvas, cover, inside), cover >= 0.5


def _strokes(rng: PortableRandom, canvas: Plane, count: int, unit: float) -> tuple[Plane, Mask]:
    """Draw short lines over everything: new canvas (H, W, 3) and the pixels they hide (H, W)."""
    size = len(canvas)
    hidden = np.zeros((size, size), dtype=bool)
    for _ in range(count):
        x, y = _pixels(size, rng.uniform(0, size), rng.uniform(0, size))
        a, b = rng.direction()
        half = unit * rng.uniform(0.3, 0.9)
        along = a * x + b * y
        beyond = along - np.clip(along, -half, half)
        width = 0.5 + unit * rng.uniform(0.03, 0.07)
        cover = np.clip(width - _length(beyond, a * y - b * x), 0, 1)
        canvas = _blend(canvas, cover, _tones(rng, rng.uniform(0.1, 0.9))[0])
        hidden |= cover >= 0.5
    return canvas, hidden


def _develop(rng: PortableRandom, canvas: Plane) -> Image:
    """Light from one side, grain, eight bits."""
    size = len(canvas)
    x, y = _pixels(size, size / 2, size / 2)
    a, b = rng.direction()
    grain = rng.table(size, size, 3) + rng.table(size, size, 3) - 1
    # one strength for every image, or a network would tell images by it
    lit = canvas * (1 + 0.3 * (a * x + b * y) / size)[..., None] + 0.06 * grain
    return np.floor(np.clip(lit, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_object(
    seed: int, index: int, label: int, size: int = 48, split: str = 'train'
) -> tuple[Image, Mask]:
    """Draw one large object of class ``label``; ``size`` is in pixels, H = W = size.

    Returns the image, uint8 (H, W, 3), and the object's visible pixels, bool (H, W).
    """
    rng = PortableRandom(seed, SPLITS.index(split), index)
    radius = size * rng.uniform(0.34, 0.46)
    x0 = size * rng.uniform(0.33, 0.67)
    y0 = size * rng.uniform(0.33, 0.67)
    canvas, mask = _object(rng, _background(rng, size, radius), label, x0, y0, radius)
    canvas, hidden = _strokes(rng, canvas, rng.below(3), radius)
    return _develop(rng, canvas), mask & ~hidden


def draw_scene(
    seed: int, index: int, size: int = 128, split: str = 'train'
) -> tuple[Image, Mask, list[int]]:
    """Draw up to six objects, at most 30 % of each hidden by later ones, and strokes over them.

    Returns the image, uint8 (H, W, 3), visible pixels, bool (N, H, W), which never overlap, and N
    labels; ``size`` is in pixels, H = W = size.
    """
    rng = PortableRandom(seed, len(SPLITS) + SPLITS.index(split), index)
    canvas = _background(rng, size, 0.2 * size)
    objects: list[tuple[int, Mask, Mask]] = []  # label, all its pixels, the visible ones
    wanted = 2 + rng.below(5)
    for _ in range(5 * wanted):
        label = rng.below(len(CLASSES))
        radius = size * rng.uniform(0.11, 0.22)
        x0 = rng.uniform(radius, size - radius)
        y0 = rng.uniform(radius, size - radius)
        with_object, mask = _object(rng, canvas, label, x0, y0, radius)
        below = [(old, whole, visible & ~mask) for old, whole, visible in objects]
        if all(10 * visible.sum() >= 7 * whole.sum() for _, whole, visible in below):
            canvas = with_object
            objects = [*below, (label, mask, mask)]
        if len(objects) == wanted:
            break
    canvas, hidden = _strokes(rng, canvas, rng.below(4), 0.2 * size)
    masks = np.stack([visible for _, _, visible in objects]) & ~hidden
    return _develop(rng, canvas), masks, [label for label, _, _ in objects]
