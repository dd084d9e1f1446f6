"""Training transform of fine-tuning (timm): crop, flip, RandAugment, random erasing."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment, create_transform

from ...core import UserError
from ...registry import TRANSFORMS
from ..encoded_image import as_pil
from .checks import check_share, check_size, check_span, refuse_channels
from .multi_view import pack
from .random_view import check_interpolation

POLICIES = ('rand-', 'augmix-', 'original', 'v0', '3a')  # timm's families of policies


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators inside the block, restore them after it.

    timm draws from all three. torch.manual_seed would also change the GPU's generator.
    """
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def posterize(image: Image.Image, bits: int, **settings: Any) -> Image.Image:
    """Keep the highest ``bits`` of each channel, as timm's posterize; 0 bits give black.

    timm asks for 0 bits at some magnitudes, for which Pillow 13 raises.
    """
    if bits == 0:
        return Image.new(image.mode, image.size)
    found: Image.Image = auto_augment.posterize(image, bits, **settings)
    return found


def operations(transform: Any) -> Iterator[Any]:
    """Yield the operations of the augmentation policies in a timm transform."""
    for step in transform.transforms:
        # timm's classes of policies share no base: RandAugment and AugMix have one, AutoAugment
        # the other, and crop or flip neither
        yield from getattr(step, 'ops', ())
        for pair in getattr(step, 'policy', ()):
            yield from pair


@TRANSFORMS.register_module()
class FinetuneView:
    """Random crop, flip, RandAugment, random erasing: timm's training transform (DeiT, MAE).

    ``augment`` is timm's code for the policy, such as 'rand-m9-mstd0.5-inc1' (two operations of
    magnitude 9), or None for colour ``jitter`` alone. ``erase`` is the probability of filling a
    box with noise. The noise is for normalised pixels, so the view is a normalised float
    (3, size, size), which the model's preprocessor does not normalise again. Raises UserError when
    timm does not have the policy, the interpolation is unknown or a setting is out of range.
    """

    def __init__(
        self,
        size: int = 224,
        scale: Sequence[float] = (0.08, 1.0),
        interpolation: str = 'bicubic',
        flip: float = 0.5,
        augment: str | None = None,
        jitter: float | None = None,
        erase: float = 0.0,
    ) -> None:
        if augment is not None and not augment.startswith(POLICIES):
            raise UserError(
                f"augment='{augment}' is not a policy of timm; give one such as "
                "'rand-m9-mstd0.5-inc1'",
                key='augment',
                value=augment,
            )
        self.transform = create_transform(
            check_size(size),
            is_training=True,
            scale=check_span(scale, 'scale', highest=1),
            hflip=check_share(flip, 'flip'),
            color_jitter=jitter,
            auto_augment=augment,
            interpolation=check_interpolation(interpolation),
            re_prob=check_share(erase, 'erase'),
            re_mode='pixel',
        )
        for operation in operations(self.transform):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = posterize

    def check_channels(self, channels: int, deep: bool) -> None:
        """Raise UserError for images that are not RGB of 8 bits, which timm's operations take."""
        refuse_channels(self, channels, deep)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the packed view of ``item['image']``, float32 (3, size, size)."""
        with seeded(item['rng'].getrandbits(63)):
            return pack(self.transform(as_pil(item['image'])), item)
