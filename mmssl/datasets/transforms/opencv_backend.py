"""Views by OpenCV and torch (``pixels='fast'``): near Pillow's, several times faster.

Pixels are uint8 or uint16, of any number of channels; hue, saturation and grey are of RGB. Each
operation rounds like a sensible implementation of its definition, not like Pillow: the mean
difference is below 2 grey levels of 255, below 3 for hue and blur (tests hold it there).
"""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from ...core.color_ops import ColorOp
from .pillow_backend import INTERPOLATIONS
from .view_params import ViewParams

LUMA = np.array((0.299, 0.587, 0.114))
NEAREST = {'nearest': cv2.INTER_NEAREST_EXACT}


def reduction(params: list[ViewParams], sizes: list[int]) -> int:
    """Return the largest factor (1, 2, 4, 8) to reduce a JPEG by with no crop scaled up.

    ``sizes`` are the sides of the views in pixels.
    """
    room = min(min(p.box[2:]) / size for p, size in zip(params, sizes, strict=True))
    return next((r for r in (8, 4, 2) if room >= r), 1)


def crop(
    image: NDArray[Any], params: ViewParams, size: int, interpolation: str, reduce: int = 1
) -> NDArray[Any]:
    """Crop the box of ``params`` and flip it: (H, W, C) -> (size, size, C), a mask likewise.

    ``reduce`` is the factor by which the image is smaller than the one the box was sampled for.
    A mask is (H, W) -> (size, size).
    """
    x, y, w, h = params.box
    if reduce > 1:  # only Pillow takes a box between pixels; the image is small by now
        box = (x / reduce, y / reduce, (x + w) / reduce, (y + h) / reduce)
        method = INTERPOLATIONS[interpolation]
        view = np.asarray(Image.fromarray(image).resize((size, size), method, box))
    else:
        view = resize(image[y : y + h, x : x + w], size, size, interpolation)
    view = cv2.flip(view, 1) if params.flip else view
    return view.reshape(size, size, *image.shape[2:])  # OpenCV drops a single channel


def resize(view: NDArray[Any], height: int, width: int, interpolation: str) -> NDArray[Any]:
    """Resize pixels (H, W, C) -> (height, width, C), uint8 or uint16, or a mask (H, W)."""
    shape = (height, width, *view.shape[2:])
    if interpolation in NEAREST:
        result: NDArray[Any] = cv2.resize(
            view, (width, height), interpolation=NEAREST[interpolation]
        ).reshape(shape)
        return result
    if interpolation == 'bilinear' and view.shape[0] <= height and view.shape[1] <= width:
        result = cv2.resize(view, (width, height), interpolation=cv2.INTER_LINEAR).reshape(shape)
        return result
    # torch filters as Pillow does when scaling down; OpenCV would skip pixels
    deep = view.dtype == np.uint16  # of which torch resizes none
    x = torch.from_numpy(view.astype(np.float32) if deep else view.copy())
    x = x[None].permute(0, 3, 1, 2)  # (1, C, h, w), channels last
    x = interpolate(x, (height, width), mode=interpolation, antialias=True)
    found = x.permute(0, 2, 3, 1)[0].numpy()  # (H, W, C)
    return _rounded(found) if deep else found


def _rounded(values: NDArray[Any]) -> NDArray[Any]:
    """Return values around 0 to 65535 as uint16."""
    found: NDArray[Any] = np.rint(values.clip(0, 0xFFFF)).astype(np.uint16)
    return found


def _brightness(view: NDArray[Any], factor: float) -> NDArray[Any]:
    if view.dtype == np.uint16:
        return _rounded(view.astype(np.float32) * factor)
    found: NDArray[Any] = cv2.convertScaleAbs(view, alpha=factor)
    return found


def _contrast(view: NDArray[Any], factor: float) -> NDArray[Any]:
    if view.shape[2] == 3:
        mean = int(np.dot(cv2.mean(view)[:3], LUMA) + 0.5)
    else:
        mean = int(view.mean() + 0.5)
    found: NDArray[Any] = cv2.addWeighted(view, factor, view, 0, (1 - factor) * mean)
    return found


def _saturation(view: NDArray[Any], factor: float) -> NDArray[Any]:
    found: NDArray[Any] = cv2.transform(view, factor * np.eye(3) + (1 - factor) * LUMA)
    return found


def _hue(view: NDArray[Any], factor: float) -> NDArray[Any]:
    if view.dtype == np.uint16:
        hsv = cv2.cvtColor(view.astype(np.float32) / 0xFFFF, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * factor) % 360
        return _rounded(0xFFFF * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    hsv = cv2.cvtColor(view, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(factor * 255) % 256)  # the hue is a circle of 256 steps
    found: NDArray[Any] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return found


def _grayscale(view: NDArray[Any], factor: float) -> NDArray[Any]:
    return _saturation(view, 0.0)


COLOR_OPS: dict[ColorOp, Callable[[NDArray[Any], float], NDArray[Any]]] = {
    ColorOp.BRIGHTNESS: _brightness,
    ColorOp.CONTRAST: _contrast,
    ColorOp.SATURATION: _saturation,
    ColorOp.HUE: _hue,
    ColorOp.GRAY: _grayscale,
}


def apply_color(view: NDArray[Any], params: ViewParams) -> NDArray[Any]:
    """Apply the colours of ``params`` to a view: (H, W, C) -> (H, W, C), uint8 or uint16."""
    shape = view.shape
    for op, factor in params.color_ops:
        view = COLOR_OPS[op](view, factor).reshape(shape)  # OpenCV drops a single channel
    if params.blur is not None:
        side = 2 * math.ceil(3 * params.blur) + 1
        view = cv2.GaussianBlur(view, (side, side), params.blur, borderType=cv2.BORDER_REPLICATE)
    if params.solarize:
        # min(v, 255 - v) inverts exactly what is 128 or more
        view = cv2.min(view, cv2.bitwise_not(view))
    return view.reshape(shape)
