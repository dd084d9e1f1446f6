"""The colour operations of views, on whole batches with a number for each image.

Views are float (B, 3, H, W) from 0 to 255, factors (B,). What Pillow and OpenCV do image by image
in the loader's workers; values stay within range after each operation, without rounding.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)


def _each(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1)


def luma(x: Tensor) -> Tensor:
    """Return the grey of x, (B, 3, H, W) -> (B, 1, H, W)."""
    weight = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weight).sum(1, keepdim=True)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with black: factor x."""
    return (x * _each(factor)).clamp(0, 255)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey."""
    mean = luma(x).mean((1, 2, 3), keepdim=True).round()  # (B, 1, 1, 1)
    return torch.lerp(mean, x, _each(factor)).clamp(0, 255)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's grey."""
    return torch.lerp(luma(x).expand_as(x), x, _each(factor)).clamp(0, 255)


def grayscale(x: Tensor, factor: Tensor) -> Tensor:
    """Return grey as three equal channels; the factor is not used."""
    return luma(x).expand_as(x)


def hue(x: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue by a share of the circle, in HSV."""
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
    """Blur by a Gaussian of ``sigma`` (B,) pixels, edges repeated."""
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
    """Invert values from 128 on."""
    return torch.where(x < 128, x, 255 - x)


STEPS = (brightness, contrast, saturation, hue, grayscale)


def paint(x: Tensor, record: Tensor) -> Tensor:
    """Apply the drawn colours of each image: x (B, 3, H, W) and record (B, 12) -> (B, 3, H, W).

    A record holds up to five operations in their order (numbers in `STEPS`, -1 none), their five
    factors, the blur's sigma (0 none), and 1 for solarised. It should be on the CPU: which image
    gets what is decided there, without waiting for the device.
    """
    half = record.shape[1] // 2 - 1
    order, factors = record[:, :half].long(), record[:, half : 2 * half]
    sigma, inverted = record[:, -2], record[:, -1]
    for place in range(half):
        for number, step in enumerate(STEPS):
            x = _some(x, order[:, place] == number, step, factors[:, place])
    x = _some(x, sigma > 0, blur, sigma)
    return _some(x, inverted > 0, lambda some, _: solarize(some), inverted)


def _some(x: Tensor, chosen: Tensor, function: object, factor: Tensor) -> Tensor:
    """Put function(x, factor) where ``chosen`` (B,) is true."""
    index = chosen.nonzero()[:, 0]
    if not len(index):
        return x
    own = factor[index].to(x)
    index = index.to(x.device, non_blocking=True)
    assert callable(function)
    return x.index_copy(0, index, function(x[index], own))
