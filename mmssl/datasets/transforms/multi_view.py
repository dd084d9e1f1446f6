"""Several views of one image, packed for the loader."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...core import UserError
from ...registry import TRANSFORMS
from .random_view import RandomView


def to_bytes(image: Image.Image) -> Tensor:
    """PIL RGB -> uint8 (3, H, W): bytes travel, the device normalises."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def pack(inputs: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Return what the loader collates: inputs, and the index and label that exist."""
    samples = {key: item[key] for key in ('index', 'label', 'box', 'mask') if key in item}
    return dict(inputs=inputs, data_samples=samples)


@TRANSFORMS.register_module()
class MultiView:
    """Draw the views of ``views`` (configs of RandomView, each with ``repeat``), in order.

    The result has V uint8 views (3, size, size) as inputs and ``box`` (V, 5): x, y, w, h in
    source pixels and 1 for flipped. Put global views first. ``mask`` (a PatchMask config) adds
    masks (2, h, w) of the first two views.
    """

    def __init__(self, views: Sequence[dict], mask: dict | None = None) -> None:
        self.views: list[RandomView] = []
        for view in views:
            view = dict(view)
            repeat = view.pop('repeat', 1)
            self.views += [TRANSFORMS.build(view)] * repeat
        if not self.views:
            raise UserError('MultiView needs at least one view: views=[dict(type=...), ...]')
        self.mask = TRANSFORMS.build(mask) if mask else None

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed views of ``item['image']``."""
        image, rng = item['image'], item['rng']
        drawn = [view.draw(image.width, image.height, rng) for view in self.views]
        item['box'] = torch.tensor([(*d.box, int(d.flip)) for d in drawn])  # (V, 5)
        images = [view.apply(image, d) for view, d in zip(self.views, drawn, strict=True)]
        if self.mask is not None:
            epoch = item.get('epoch', 0)
            masks = [self.mask.draw(view.size, rng, epoch) for view in self.views[:2]]
            item['mask'] = torch.stack(masks)  # (2, h, w)
        return pack([to_bytes(view) for view in images], item)
