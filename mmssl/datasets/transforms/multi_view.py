"""Several random views of one image (multi-crop), packed for the loader."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core import UserError
from ...registry import TRANSFORMS
from .checks import check_size
from .random_view import RandomView, check_pixels, check_way, decode

PACKED = ('index', 'label', 'box', 'mask', 'color_params', 'unreadable', 'stream')


def to_bytes(image: NDArray[Any]) -> Tensor:
    """Move channels first: (H, W, C) -> (C, H, W), uint8 or uint16. The device normalises."""
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    for i in range(len(planes)):
        cv2.extractChannel(image, i, planes[i])
    return torch.from_numpy(planes)


def pack(inputs: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Return the dict that the loader collates: ``inputs``, and `PACKED` keys as data_samples.

    ``inputs`` is a view (C, H, W) or a list of views.
    """
    samples = {key: item[key] for key in PACKED if key in item}
    return dict(inputs=inputs, data_samples=samples)


@TRANSFORMS.register_module()
class MultiView:
    """Make the views of ``views``, in order: configs of RandomView, each made ``repeat`` times.

    The result has V uint8 views (3, size, size), or what LoadImage(channels=) keeps, as inputs and
    ``box`` (V, 5): x, y, w, h in
    source pixels and 1 for flipped. Put global views first. ``mask`` (a PatchMask config) adds
    masks (2, h, w) of the first two views. ``pixels`` selects how views are made from the sampled
    parameters: 'fast' (OpenCV; large JPEGs are decoded at reduced size where every crop allows
    it), 'exact' (Pillow, as the official codes), or 'device': the workers crop only, and the
    preprocessor applies the colours to the batch, by ``color_params`` (V, 12). Raises UserError
    when there are no views or ``pixels`` is another word.
    """

    def __init__(
        self,
        views: Sequence[dict[str, Any]],
        mask: dict[str, Any] | None = None,
        pixels: str = 'fast',
    ) -> None:
        self.views: list[RandomView] = []
        for view in views:
            view = dict(view)
            repeat = check_size(view.pop('repeat', 1), 'repeat')
            self.views += [TRANSFORMS.build(view)] * repeat
        if not self.views:
            raise UserError(
                'MultiView needs at least one view: views=[dict(type=...), ...]',
                key='views',
                value=views,
            )
        self.mask = TRANSFORMS.build(mask) if mask else None
        self.pixels = check_pixels(pixels)

    def check_channels(self, channels: int, deep: bool) -> None:
        """Raise UserError where images of so many channels, ``deep`` of 16 bits, have no views."""
        check_way(self.pixels, channels, deep)
        for view in self.views:
            view.check_colors(channels)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed views of ``item['image']``, V of uint8 (3, size, size)."""
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


def build_multi_view(pipeline: Sequence[dict[str, Any]]) -> MultiView:
    """Build the MultiView of a pipeline, to apply its colours in the workers.

    Raises UserError when the pipeline has no MultiView.
    """
    for step in pipeline:
        if step['type'].rpartition('.')[2] == 'MultiView':
            pixels = step.get('pixels', 'fast')
            if pixels == 'device':  # there is no preprocessor here to apply the colours
                pixels = 'fast'
            found: MultiView = TRANSFORMS.build({**step, 'pixels': pixels})
            return found
    names = ', '.join(step['type'] for step in pipeline)
    raise UserError(
        f'the pipeline draws no views (MultiView) but has {names}; use a config of pretraining',
        key='pipeline',
        value=pipeline,
    )
