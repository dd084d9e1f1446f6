"""Several views of one image, packed for the loader."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ...core import UserError
from ...registry import TRANSFORMS
from .random_view import RandomView, check_pixels, decode

PACKED = ('index', 'label', 'box', 'mask', 'color', 'fault')


def to_bytes(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> uint8 (3, H, W): bytes travel, the device normalises."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    for i in range(3):
        cv2.extractChannel(image, i, planes[i])
    return torch.from_numpy(planes)


def pack(inputs: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Return what the loader collates: inputs, and what is known of index, label and views."""
    samples = {key: item[key] for key in PACKED if key in item}
    return dict(inputs=inputs, data_samples=samples)


@TRANSFORMS.register_module()
class MultiView:
    """Draw the views of ``views`` (configs of RandomView, each with ``repeat``), in order.

    The result has V uint8 views (3, size, size) as inputs and ``box`` (V, 5): x, y, w, h in
    source pixels and 1 for flipped. Put global views first. ``mask`` (a PatchMask config) adds
    masks (2, h, w) of the first two views. ``pixels`` says who makes them from the same draws:
    'fast' (OpenCV; large JPEGs are decoded at half size where every crop allows it), 'exact'
    (Pillow, as the official codes), or 'device': views leave the workers without their colours,
    and the preprocessor paints the batch by ``color`` (V, 12).
    """

    def __init__(
        self, views: Sequence[dict], mask: dict | None = None, pixels: str = 'fast'
    ) -> None:
        self.views: list[RandomView] = []
        for view in views:
            view = dict(view)
            repeat = view.pop('repeat', 1)
            self.views += [TRANSFORMS.build(view)] * repeat
        if not self.views:
            raise UserError('MultiView needs at least one view: views=[dict(type=...), ...]')
        self.mask = TRANSFORMS.build(mask) if mask else None
        self.pixels = check_pixels(pixels)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed views of ``item['image']``."""
        image, rng = item['image'], item['rng']
        drawn = [view.draw(image.width, image.height, rng) for view in self.views]
        item['box'] = torch.tensor([(*d.box, int(d.flip)) for d in drawn])  # (V, 5)
        if self.pixels == 'device':
            item['color'] = torch.tensor([d.record() for d in drawn])  # (V, 12)
        source, reduce = decode(image, self.pixels, drawn, [view.size for view in self.views])
        images = [
            view.apply(source, d, self.pixels, reduce)
            for view, d in zip(self.views, drawn, strict=True)
        ]
        if self.mask is not None:
            epoch = item.get('epoch', 0)
            masks = [self.mask.draw(view.size, rng, epoch) for view in self.views[:2]]
            item['mask'] = torch.stack(masks)  # (2, h, w)
        return pack([to_bytes(view) for view in images], item)
