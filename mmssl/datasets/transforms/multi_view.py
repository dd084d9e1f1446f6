"""Several random views of one image (multi-crop), packed for the loader."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ...core import UserError
from ...registry import TRANSFORMS
from .random_view import RandomView, check_pixels, decode

PACKED = ('index', 'label', 'box', 'mask', 'color_params', 'unreadable')


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
    """Make the views of ``views`` (configs of RandomView, each with ``repeat``), in order.

    The result has V uint8 views (3, size, size) as inputs and ``box`` (V, 5): x, y, w, h in
    source pixels and 1 for flipped. Put global views first. ``mask`` (a PatchMask config) adds
    masks (2, h, w) of the first two views. ``pixels`` says who makes them, from equal parameters:
    'fast' (OpenCV; large JPEGs are decoded at half size where every crop allows it), 'exact'
    (Pillow, as the official codes), or 'device': views leave the workers without their colours,
    and the preprocessor applies them to the batch, by ``color_params`` (V, 12). Raises UserError
    for no views and for another word.
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
        image = item['image']
        rng = item['rng']
        params = [view.sample_params(image.width, image.height, rng) for view in self.views]
        item['box'] = torch.tensor([(*p.box, int(p.flip)) for p in params])  # (V, 5)
        if self.pixels == 'device':
            item['color_params'] = torch.tensor([p.color_params() for p in params])  # (V, 12)
        source, reduce = decode(image, self.pixels, params, [view.size for view in self.views])
        images = [
            view.apply(source, p, self.pixels, reduce)
            for view, p in zip(self.views, params, strict=True)
        ]
        if self.mask is not None:
            epoch = item.get('epoch', 0)
            masks = [self.mask.sample(view.size, rng, epoch) for view in self.views[:2]]
            item['mask'] = torch.stack(masks)  # (2, h, w)
        return pack([to_bytes(view) for view in images], item)


def build_multi_view(pipeline: Sequence[dict]) -> MultiView:
    """Build the MultiView of a pipeline, with colours. Raises UserError when there is none."""
    for step in pipeline:
        if step['type'].rpartition('.')[2] == 'MultiView':
            pixels = step.get('pixels', 'fast')
            if pixels == 'device':  # there is no preprocessor here to apply the colours
                pixels = 'fast'
            return TRANSFORMS.build({**step, 'pixels': pixels})
    names = ', '.join(step['type'] for step in pipeline)
    raise UserError(f'the pipeline draws no views (MultiView) but has {names}; use a pretraining')
