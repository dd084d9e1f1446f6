"""The views that training would draw of a picture, with the numbers they were made from."""

import random
from typing import Any, NamedTuple

from torch import Tensor

from ..core import UserError
from ..datasets.picture import Picture
from ..datasets.transforms.draw import GRAY, HUE, Drawn
from ..datasets.transforms.multi_view import MultiView
from ..registry import TRANSFORMS

JITTER = ('brightness', 'contrast', 'saturation', 'hue')


class View(NamedTuple):
    """pixels uint8 (3, S, S), the numbers drawn, and the mask (h, w) where one was drawn."""

    pixels: Tensor
    drawn: Drawn
    mask: Tensor | None


def multi_view(pipeline: list[dict]) -> MultiView:
    """Build the step of a pipeline that draws views. Raises UserError when there is none."""
    for step in pipeline:
        if step['type'].rpartition('.')[2] == 'MultiView':
            # colours that the device would paint are painted here
            return TRANSFORMS.build({**step, 'pixels': _seen(step.get('pixels', 'fast'))})
    names = ', '.join(step['type'] for step in pipeline)
    raise UserError(f'the pipeline draws no views (MultiView) but has {names}; use a pretraining')


def _seen(pixels: str) -> str:
    return 'fast' if pixels == 'device' else pixels


def draw_views(multi: MultiView, picture: Picture, seed: str, epoch: int = 0) -> list[View]:
    """Return the views of a picture, those that training makes of a sample seeded alike."""
    item: dict[str, Any] = dict(image=picture, rng=random.Random(seed), index=0, epoch=epoch)
    made = multi(item)
    rng = random.Random(seed)
    drawn = [view.draw(picture.width, picture.height, rng) for view in multi.views]
    masks = made['data_samples'].get('mask', ())
    padded = [*masks, *[None] * (len(drawn) - len(masks))]
    return [View(*parts) for parts in zip(made['inputs'], drawn, padded, strict=True)]


def words(view: View, picture: Picture) -> list[str]:
    """Say in a line each what was done to a view, in the order it was done."""
    x, y, w, h = view.drawn.box
    share = w * h / (picture.width * picture.height)
    side = view.pixels.shape[-1]
    said = [f'crop {100 * share:.0f} % of area → {side} px', f'{w} × {h} px at {x}, {y}']
    said += ['flipped'] * view.drawn.flip
    for kind, value in view.drawn.steps:
        if kind == GRAY:
            said.append('grey')
        elif kind == HUE:
            said.append(f'hue {360 * value:+.0f}°')
        else:
            said.append(f'{JITTER[kind]} × {value:.2f}')
    if view.drawn.blur is not None:
        said.append(f'blur {view.drawn.blur:.1f} px')
    said += ['solarised'] * view.drawn.solarize
    if view.mask is not None:
        said.append(f'{100 * view.mask.double().mean():.0f} % of the patches hidden')
    return said
