"""Views by Pillow and torchvision (``pixels='exact'``): bit for bit those of the official codes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from ...core.color_ops import ColorOp
from .view_params import ViewParams

INTERPOLATIONS = {
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'nearest': Image.Resampling.NEAREST,
}


def _grayscale(view: Image.Image, factor: float) -> Image.Image:
    found: Image.Image = TF.to_grayscale(view, 3)
    return found


COLOR_OPS: dict[ColorOp, Callable[[Image.Image, float], Image.Image]] = {
    ColorOp.BRIGHTNESS: TF.adjust_brightness,
    ColorOp.CONTRAST: TF.adjust_contrast,
    ColorOp.SATURATION: TF.adjust_saturation,
    ColorOp.HUE: TF.adjust_hue,
    ColorOp.GRAY: _grayscale,
}


def crop(image: Image.Image, params: ViewParams, size: int, interpolation: str) -> Image.Image:
    """Crop the box of ``params``, resize it to ``size`` x ``size`` pixels and flip it."""
    x, y, w, h = params.box
    # crop first: Pillow's own box argument would let the filter read outside the crop
    view = image.crop((x, y, x + w, y + h)).resize((size, size), INTERPOLATIONS[interpolation])
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if params.flip else view


def apply_color(view: Image.Image, params: ViewParams) -> NDArray[Any]:
    """Apply the colours of ``params`` to a view of H x W pixels; return uint8 (H, W, 3)."""
    for op, factor in params.color_ops:
        view = COLOR_OPS[op](view, factor)
    if params.blur is not None:
        view = view.filter(ImageFilter.GaussianBlur(params.blur))
    if params.solarize:
        view = ImageOps.solarize(view)
    return np.array(view)
