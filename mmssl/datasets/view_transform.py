"""Views of a method as a transform of any data set of images, such as torchvision's."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import default_collate

from ..core import UserError
from .encoded_image import EncodedImage
from .transforms.load_image import LoadImage
from .transforms.multi_view import MultiView


class ViewTransform:
    """Transform of an image into the views of a method: ``ImageFolder(root, transform=...)``.

    An image is Pillow's, an array (H, W, 3) of bytes, a path, or an EncodedImage. Its item is
    dict(inputs=[uint8 views (3, H, W)], data_samples=dict(box=(V, 5), mask=(2, h, w), ...)).
    ``collate`` makes a batch of items for ``method(**batch, mode='loss')``. Random numbers come
    from torch's generator, which a loader seeds in each of its workers. ``set_epoch`` is for
    methods whose masks begin later (iBOT with Swin).
    """

    def __init__(self, multi_view: MultiView) -> None:
        self.multi_view = multi_view
        self.load = LoadImage()
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # workers may be running

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, counted from 0."""
        self._epoch.fill_(epoch)

    def __call__(self, image: Any) -> dict[str, Any]:
        """Return the item of an image. Raises UserError for what is no image."""
        rng = random.Random(int(torch.randint(2**62, ())))
        item = dict(image=self._opened(image), rng=rng, epoch=int(self._epoch))
        return self.multi_view(item)

    def _opened(self, image: Any) -> EncodedImage | Image.Image:
        if isinstance(image, (str, Path)):
            return self.load.from_file(Path(image))
        if isinstance(image, Image.Image):
            return image.convert('RGB')
        if isinstance(image, EncodedImage):
            return image
        try:
            return Image.fromarray(image).convert('RGB')
        except (TypeError, AttributeError, ValueError):
            kind = type(image).__name__
            raise UserError(
                f'the transform of views takes an image of Pillow, bytes (H, W, 3) of numpy or a '
                f'path, got {kind}; put it first, before ToTensor',
                key='image',
                value=kind,
            ) from None

    @staticmethod
    def collate(items: Sequence[Any]) -> dict[str, Any]:
        """Return a batch of items, or of pairs (item, label) as torchvision's data sets give them.

        dict(inputs=[(B, 3, H, W) of each view], data_samples=dict(label=(B,), ...)). Raises
        UserError for other items.
        """
        views = [item[0] if isinstance(item, (tuple, list)) else item for item in items]
        other = next((v for v in views if not isinstance(v, dict) or 'inputs' not in v), None)
        if other is not None:
            kind = type(other).__name__
            raise UserError(
                f'collate: an item is a {kind}, not what build_transform makes; give the data set '
                'transform=build_transform(...)',
                key='items',
                value=kind,
            )
        batch: dict[str, Any] = default_collate(views)
        labels = [item[1] for item in items if isinstance(item, (tuple, list)) and len(item) > 1]
        if labels:
            batch['data_samples']['label'] = default_collate(labels)
        return batch
