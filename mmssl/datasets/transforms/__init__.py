"""Transforms of a pipeline: load an image, make its views, sample masks."""

from .center_view import CenterView, TrainView
from .finetune_view import FinetuneView
from .load_image import LoadImage
from .multi_view import MultiView
from .patch_mask import PatchMask
from .random_view import RandomView
from .segment_view import SegmentTestView, SegmentTrainView
from .squash_view import SquashView

__all__ = [
    'CenterView',
    'FinetuneView',
    'LoadImage',
    'MultiView',
    'PatchMask',
    'RandomView',
    'SegmentTestView',
    'SegmentTrainView',
    'SquashView',
    'TrainView',
]
