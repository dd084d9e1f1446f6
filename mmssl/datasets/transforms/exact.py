"""Pixels of a view as the official codes make them: Pillow and torchvision, bit for bit."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as TF

from .draw import GRAY, Drawn

INTERPOLATIONS = {
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
    'nearest': Image.Resampling.NEAREST,
}
JITTERS = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)


def crop(image: Image.Image, drawn: Drawn, size: int, interpolation: str) -> Image.Image:
    """Return the drawn box, ``size`` x ``size`` pixels, flipped or not."""
    x, y, w, h = drawn.box
    # crop first: Pillow's own box argument would let the filter read outside the crop
    view = image.crop((x, y, x + w, y + h)).resize((size, size), INTERPOLATIONS[interpolation])
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn.flip else view


def color(view: Image.Image, drawn: Drawn) -> np.ndarray:
    """Return the view with its drawn colours, uint8 (H, W, 3)."""
    for step, value in drawn.steps:
        view = TF.to_grayscale(view, 3) if step == GRAY else JITTERS[step](view, value)
    if drawn.blur is not None:
        view = view.filter(ImageFilter.GaussianBlur(drawn.blur))
    return np.array(ImageOps.solarize(view) if drawn.solarize else view)
