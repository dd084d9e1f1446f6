"""Data sets: image sources, transforms that make views, and the sampler."""

from . import sources, transforms
from .image_dataset import ImageDataset
from .repeat_aug_sampler import RepeatAugSampler
from .sampler import EpochSampler, ResumableSampler

__all__ = [
    'EpochSampler',
    'ImageDataset',
    'RepeatAugSampler',
    'ResumableSampler',
    'sources',
    'transforms',
]
