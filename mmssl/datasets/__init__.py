"""From files in any storage to batches of views."""

from . import sources, transforms
from .image_set import ImageFolder, ImageSet
from .sampler import EpochSampler

__all__ = ['EpochSampler', 'ImageFolder', 'ImageSet', 'sources', 'transforms']
