"""From files on disk to batches of views."""

from . import transforms
from .image_folder import ImageFolder
from .sampler import EpochSampler

__all__ = ['EpochSampler', 'ImageFolder', 'transforms']
