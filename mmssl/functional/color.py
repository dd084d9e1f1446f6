"""Colour operations on a batch of views, on the device (``pixels='device'``).

Views are float (B, 3, H, W) from 0 to 255, factors (B,): a strength for each image. Pillow and
OpenCV do the same image by image in the loader's workers. Values are clamped to the range after
each operation, without rounding.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.color_ops import MAX_OPS, ColorOp
from ..core.precision import full_precision

LUMA = (0.299, 0.587, 0.114)


def _per_image(factor: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return factor.view(-1, 1, 1, 1)


def luma(x: Tensor) -> Tensor:
    """Return the luminance of x (ITU-R 601): (B, 3, H, W) -> (B, 1, H, W)."""
    weight = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weight).sum(1, keepdim=True)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with black, factor * x: (B, 3, H, W), factor (B,) -> (B, 3, H, W)."""
    return (x * _per_image(factor)).clamp(0, 255)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey: (B, 3, H, W), factor (B,) -> (B, 3, H, W)."""
    mean = luma(x).mean((1, 2, 3), keepdim=True).round()  # (B, 1, 1, 1)
    return torch.lerp(mean, x, _per_image(factor)).clamp(0, 255)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's grey: (B, 3, H, W), factor (B,) -> (B, 3, H, W)."""
    return torch.lerp(luma(x).expand_as(x), x, _per_image(factor)).clamp(0, 255)


def grayscale(x: Tensor, factor: Tensor) -> Tensor:
    """Return grey as three equal channels: (B, 3, H, W) -> (B, 3, H, W); ignores the factor."""
    return luma(x).expand_as(x)


def hue(x: Tensor, factor: Tensor) -> Tensor:
    """Rotate the hue in HSV by a fraction of the circle: (B, 3, H, W), (B,) -> (B, 3, H, W)."""
    value, which = x.max(1)  # (B, H, W)
    span = value - x.amin(1)
    safe = torch.where(span > 0, span, 1)
    red, green, blue = x.unbind(1)
    sixths = torch.stack(
        [(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe], 1
    )  # (B, 3, H, W)
    turned = sixths.gather(1, which[:, None])[:, 0] + 6 * factor.view(-1, 1, 1)  # (B, H, W)
    # each channel: full within a sixth of its place on the circle, and a ramp beside it
    shift = torch.tensor((5.0, 3.0, 1.0), dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    k = (turned[:, None] + shift) % 6  # (B, 3, H, W)
    return value[:, None] - span[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with edges repeated: (B, 3, H, W), sigma (B,) in pixels -> (B, 3, H, W)."""
    reach = max(1, math.ceil(3 * float(sigma.max())))
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (at / sigma[:, None]).square())  # (B, K)
    # cut at 3 sigma of its own: the others of the batch must not matter
    kernel = kernel * (at.abs() <= (3 * sigma).ceil()[:, None])
    kernel = kernel / kernel.sum(1, keepdim=True)
    b, c, h, w = x.shape
    kernel = kernel.repeat_interleave(c, 0)  # (B * C, K)
    x = F.pad(x, (reach,) * 4, mode='replicate').view(1, b * c, h + 2 * reach, w + 2 * reach)
    x = F.conv2d(x, kernel[:, None, :, None], groups=b * c)
    x = F.conv2d(x, kernel[:, None, None, :], groups=b * c)
    return x.view(b, c, h, w)


def solarize(x: Tensor) -> Tensor:
    """Invert values from 128 on: (B, 3, H, W) -> (B, 3, H, W)."""
    return torch.where(x < 128, x, 255 - x)


COLOR_OPS: dict[ColorOp, Callable[[Tensor, Tensor], Tensor]] = {
    ColorOp.BRIGHTNESS: brightness,
    ColorOp.CONTRAST: contrast,
    ColorOp.SATURATION: saturation,
    ColorOp.HUE: hue,
    ColorOp.GRAY: grayscale,
}


@full_precision  # some operators of autocast give half, others refuse to mix
def apply_color(x: Tensor, color_params: Tensor) -> Tensor:
    """Apply each image's colours: x (B, 3, H, W) and color_params (B, 12) -> (B, 3, H, W).

    `mmssl.core.color_ops` describes the row of an image. ``color_params`` should be on the CPU,
    where the images of each operation are selected without waiting for the device.
    """
    order = color_params[:, :MAX_OPS].long()
    factors = color_params[:, MAX_OPS : 2 * MAX_OPS]
    sigma = color_params[:, 2 * MAX_OPS]
    solarized = color_params[:, 2 * MAX_OPS + 1]
    for place in range(MAX_OPS):
        for op, function in COLOR_OPS.items():
            x = _apply_where(order[:, place] == op, function, x, factors[:, place])
    x = _apply_where(sigma > 0, blur, x, sigma)
    return _apply_where(solarized > 0, lambda images, _: solarize(images), x, solarized)


def _apply_where(
    chosen: Tensor, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, factor: Tensor
) -> Tensor:
    """Apply function(x, factor (B,)) to images of x (B, 3, H, W) where ``chosen`` (B,) is true."""
    index = chosen.nonzero()[:, 0]
    if not len(index):
        return x
    own_factor = factor[index].to(x)
    index = index.to(x.device, non_blocking=True)
    return x.index_copy(0, index, function(x[index], own_factor))
