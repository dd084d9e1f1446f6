"""The augmented views that training makes of an image, with their random parameters."""

import random
from typing import Any, NamedTuple

from torch import Tensor

from ..core.color_ops import ColorOp
from ..datasets.encoded_image import EncodedImage
from ..datasets.transforms.multi_view import MultiView
from ..datasets.transforms.view_params import ViewParams

JITTER = ('brightness', 'contrast', 'saturation', 'hue')


class View(NamedTuple):
    """Pixels uint8 (3, S, S), random parameters, and the mask (h, w) where there is one."""

    pixels: Tensor
    params: ViewParams
    mask: Tensor | None


def training_views(multi: MultiView, image: EncodedImage, seed: str, epoch: int = 0) -> list[View]:
    """Return the views of an image, those that training makes of a sample seeded alike."""
    item: dict[str, Any] = dict(image=image, rng=random.Random(seed), index=0, epoch=epoch)
    made = multi(item)
    rng = random.Random(seed)
    drawn = [view.sample_params(image.width, image.height, rng) for view in multi.views]
    masks = made['data_samples'].get('mask', ())
    padded = [*masks, *[None] * (len(drawn) - len(masks))]
    return [View(*parts) for parts in zip(made['inputs'], drawn, padded, strict=True)]


def describe_view(view: View, image: EncodedImage) -> list[str]:
    """Return what was done to a view, a line each, in the order it was done."""
    x, y, w, h = view.params.box
    share = w * h / (image.width * image.height)
    side = view.pixels.shape[-1]
    lines = [f'crop {100 * share:.0f} % of area → {side} px', f'{w} × {h} px at {x}, {y}']
    lines += ['flipped'] * view.params.flip
    for kind, value in view.params.color_ops:
        if kind == ColorOp.GRAY:
            lines.append('grey')
        elif kind == ColorOp.HUE:
            lines.append(f'hue {360 * value:+.0f}°')
        else:
            lines.append(f'{JITTER[kind]} × {value:.2f}')
    if view.params.blur is not None:
        lines.append(f'blur {view.params.blur:.1f} px')
    lines += ['solarised'] * view.params.solarize
    if view.mask is not None:
        lines.append(f'{100 * view.mask.double().mean():.0f} % of the patches hidden')
    return lines
