"""Colour operations on a batch of views, on the device (``pixels='device'``).

Views are float (B, 3, H, W) from 0 to 255. Pillow and OpenCV do the same image by image in the
loader's workers. Values are clamped to the range after each operation, without rounding.

All images of a batch take the same kernels: what an operation does to an image is in numbers that
are made on the CPU and uploaded once, so that no image is picked out and the host waits for
nothing. Brightness, contrast, saturation and grey are one operation of three coefficients,
a x + b luma(x) + c mean(luma(x)); an image for which nothing is due has (1, 0, 0). Only hue is
another, and each image turns it once at most: what comes before it is done first, for all.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.color_ops import MAX_OPS, ColorOp
from ..core.precision import full_precision
from ..core.table_cache import remembered

LUMA = (0.299, 0.587, 0.114)


class ColorPlan(NamedTuple):
    """What is done to each image of a batch, on the device.

    ``before`` and ``after`` the hue (P, B, 3): the coefficients of P operations one after the
    other; ``hue`` the turn (B,) and where there is one (B,); ``kernel`` (B, K) of the blur;
    ``solarized`` (B,) where values are inverted. None where no image needs it.
    """

    before: Tensor
    after: Tensor
    hue: tuple[Tensor, Tensor] | None
    kernel: Tensor | None
    solarized: Tensor | None


@remembered
def _luma_weight() -> Tensor:
    return torch.tensor((LUMA,))


@remembered
def _places_of_channels() -> Tensor:
    """Sixths of the circle (1, 3, 1, 1) that red, green and blue are from their full place."""
    return torch.tensor((5.0, 3.0, 1.0)).view(1, 3, 1, 1)


def _per_image(factor: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return factor.view(-1, 1, 1, 1)


def luma(x: Tensor, weight: Tensor) -> Tensor:
    """Return the luminance of x (ITU-R 601), weight (1, 3): (B, 3, H, W) -> (B, 1, H, W)."""
    found: Tensor = weight @ x.flatten(2)  # (B, 1, H * W)
    return found.view(len(x), 1, *x.shape[2:])


def coefficients(ops: Tensor, factors: Tensor) -> Tensor:
    """Return (a, b, c) of operations (B, P) with these factors: (B, P, 3), (1, 0, 0) of others."""
    is_gray = ops == ColorOp.GRAY
    to_mean, to_luma = ops == ColorOp.CONTRAST, ops == ColorOp.SATURATION
    blends = to_mean | to_luma | (ops == ColorOp.BRIGHTNESS)
    own = torch.where(blends, factors, torch.where(is_gray, 0.0, 1.0))
    of_luma = torch.where(to_luma, 1 - factors, torch.where(is_gray, 1.0, 0.0))
    return torch.stack([own, of_luma, torch.where(to_mean, 1 - factors, 0.0)], -1)


def apply_coefficients(x: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """Return a x + b luma(x) + c mean(luma(x)), clamped: x (B, 3, H, W), rows (B, 3).

    The mean is rounded, as Pillow's is. Blends of images with black, their grey or its mean.
    """
    a, b, c = (_per_image(column) for column in rows.unbind(1))
    grey = luma(x, weight)
    mean = grey.mean((2, 3), keepdim=True).round_()  # (B, 1, 1, 1)
    # in two passes over the memory of the images, where a product and a sum would be three
    return torch.addcmul(torch.addcmul(mean * c, grey, b), x, a).clamp_(0, 255)


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
    k = (turned[:, None] + _places_of_channels(device=x.device).to(x)) % 6  # (B, 3, H, W)
    return value[:, None] - span[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def blur_kernel(sigma: Tensor) -> Tensor:
    """Return the Gaussian weights (B, K) of blurs of sigma (B,) pixels, of 0 the identity."""
    reach = max(1, math.ceil(3 * float(sigma.max())))
    at = torch.arange(-reach, reach + 1, dtype=sigma.dtype)
    kernel = torch.exp(-0.5 * (at / sigma[:, None].clamp_min(1e-6)).square())
    # cut at 3 sigma of its own: the others of the batch must not matter
    kernel = kernel * (at.abs() <= (3 * sigma).ceil()[:, None])
    return kernel / kernel.sum(1, keepdim=True)


def blur(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur with edges repeated: (B, 3, H, W), kernel (B, K) -> (B, 3, H, W)."""
    reach = kernel.shape[1] // 2
    b, c, h, w = x.shape
    kernel = kernel.repeat_interleave(c, 0)  # (B * C, K)
    x = F.pad(x, (reach,) * 4, mode='replicate').view(1, b * c, h + 2 * reach, w + 2 * reach)
    x = F.conv2d(x, kernel[:, None, :, None], groups=b * c)
    x = F.conv2d(x, kernel[:, None, None, :], groups=b * c)
    return x.view(b, c, h, w)


def plan_colors(color_params: Tensor, like: Tensor) -> ColorPlan:
    """Make the plan of color_params (B, 12), on the CPU, for images of a device and type.

    `mmssl.core.color_ops` describes the row of an image.
    """
    order = color_params[:, :MAX_OPS].long()
    factors = color_params[:, MAX_OPS : 2 * MAX_OPS]
    sigma, inverted = color_params[:, 2 * MAX_OPS], color_params[:, 2 * MAX_OPS + 1] > 0
    is_hue = order == ColorOp.HUE
    since = is_hue.cumsum(1) > 0  # the places from the hue on
    parts = [_in_front(order, factors, ~since), _in_front(order, factors, since & ~is_hue)]
    turned = is_hue.any(1)
    columns = [part.flatten(1) for part in parts]
    columns += [(factors * is_hue).sum(1)[:, None], turned[:, None], inverted[:, None]]
    columns += [blur_kernel(sigma)] if bool((sigma > 0).any()) else []
    table = torch.cat([column.to(like.dtype) for column in columns], 1)
    if like.is_cuda:
        table = table.pin_memory()
    sizes = [column.shape[1] for column in columns]
    before, after, hue_factor, turns, inverts, *kernel = table.to(
        like.device, non_blocking=True
    ).split(sizes, 1)
    return ColorPlan(
        before.unflatten(1, (parts[0].shape[1], 3)).transpose(0, 1),
        after.unflatten(1, (parts[1].shape[1], 3)).transpose(0, 1),
        (hue_factor[:, 0], turns[:, 0] > 0) if bool(turned.any()) else None,
        kernel[0] if kernel else None,
        inverts[:, 0] > 0 if bool(inverted.any()) else None,
    )


def _in_front(order: Tensor, factors: Tensor, chosen: Tensor) -> Tensor:
    """Return the coefficients (B, P, 3) of the chosen operations of each image, P the most."""
    chosen = chosen & (order >= 0)
    first = (~chosen).long().argsort(dim=1, stable=True)[:, : int(chosen.sum(1).max())]
    ops = torch.where(chosen, order, -1).gather(1, first)
    return coefficients(ops, factors.gather(1, first))


@full_precision  # some operators of autocast give half, others refuse to mix
def apply_color(x: Tensor, color_params: Tensor) -> Tensor:
    """Apply each image's colours: x (B, 3, H, W) and color_params (B, 12) -> (B, 3, H, W).

    ``color_params`` must be on the CPU: what they ask for is decided there.
    """
    plan = plan_colors(color_params, x)
    weight = _luma_weight(device=x.device).to(x)
    for rows in plan.before:
        x = apply_coefficients(x, rows, weight)
    if plan.hue is not None:
        factor, turned = plan.hue
        x = torch.where(_per_image(turned), hue(x, factor), x)
    for rows in plan.after:
        x = apply_coefficients(x, rows, weight)
    if plan.kernel is not None:
        x = blur(x, plan.kernel)
    if plan.solarized is not None:
        x = torch.where(_per_image(plan.solarized) & (x >= 128), 255 - x, x)
    return x
