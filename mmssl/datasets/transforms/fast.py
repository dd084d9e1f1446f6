"""Pixels of a view on OpenCV and torch, uint8 throughout: near Pillow's, several times faster.

Each operation rounds like a sensible implementation of its definition, not like Pillow: the mean
difference is below 2 grey levels of 255, below 3 for hue and blur (tests hold it there).
"""

import math

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from .draw import BRIGHTNESS, CONTRAST, GRAY, SATURATION, Drawn
from .exact import INTERPOLATIONS

LUMA = np.array((0.299, 0.587, 0.114))
NEAREST = {'nearest': cv2.INTER_NEAREST_EXACT}


def reduction(drawn: list[Drawn], sizes: list[int]) -> int:
    """Return by how much (1, 2, 4, 8) a JPEG may be smaller and every crop still be scaled down."""
    room = min(min(d.box[2:]) / size for d, size in zip(drawn, sizes, strict=True))
    return next((r for r in (8, 4, 2) if room >= r), 1)


def crop(
    image: np.ndarray, drawn: Drawn, size: int, interpolation: str, reduce: int = 1
) -> np.ndarray:
    """Return the drawn box of an image (H, W, 3), ``size`` x ``size`` pixels, flipped or not.

    ``reduce`` is by how much the image is smaller than the one the box was drawn for.
    """
    x, y, w, h = drawn.box
    if reduce > 1:  # only Pillow takes a box between pixels; the image is small by now
        box = (x / reduce, y / reduce, (x + w) / reduce, (y + h) / reduce)
        method = INTERPOLATIONS[interpolation]
        view = np.asarray(Image.fromarray(image).resize((size, size), method, box))
    else:
        view = _resize(image[y : y + h, x : x + w], size, interpolation)
    return cv2.flip(view, 1) if drawn.flip else view


def _resize(view: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    if interpolation in NEAREST:
        return cv2.resize(view, (size, size), interpolation=NEAREST[interpolation])
    if interpolation == 'bilinear' and max(view.shape[:2]) <= size:
        return cv2.resize(view, (size, size), interpolation=cv2.INTER_LINEAR)
    # torch filters as Pillow does when scaling down; OpenCV would skip pixels
    x = torch.from_numpy(view.copy())[None].permute(0, 3, 1, 2)  # (1, 3, h, w), channels last
    x = interpolate(x, (size, size), mode=interpolation, antialias=True)
    return x.permute(0, 2, 3, 1)[0].numpy()  # (S, S, 3)


def color(view: np.ndarray, drawn: Drawn) -> np.ndarray:
    """Return the view (H, W, 3) with its drawn colours."""
    for step, value in drawn.steps:
        view = _step(view, step, value)
    if drawn.blur is not None:
        side = 2 * math.ceil(3 * drawn.blur) + 1
        view = cv2.GaussianBlur(view, (side, side), drawn.blur, borderType=cv2.BORDER_REPLICATE)
    # min(v, 255 - v) inverts exactly what is 128 or more
    return cv2.min(view, cv2.bitwise_not(view)) if drawn.solarize else view


def _step(view: np.ndarray, step: int, value: float) -> np.ndarray:
    if step == BRIGHTNESS:
        return cv2.convertScaleAbs(view, alpha=value)
    if step == CONTRAST:
        mean = int(np.dot(cv2.mean(view)[:3], LUMA) + 0.5)
        return cv2.addWeighted(view, value, view, 0, (1 - value) * mean)
    if step in (SATURATION, GRAY):
        keep = 0.0 if step == GRAY else value
        return cv2.transform(view, keep * np.eye(3) + (1 - keep) * LUMA)
    hsv = cv2.cvtColor(view, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(value * 255) % 256)  # the hue is a circle of 256 steps
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
