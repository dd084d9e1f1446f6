"""From a path to views."""

from .evaluate import CenterView, TrainView
from .finetune import FinetuneView
from .load import LoadImage
from .mask import PatchMask
from .multi_view import MultiView
from .random_view import RandomView
from .segment import SegmentTestView, SegmentTrainView

__all__ = [
    'CenterView',
    'FinetuneView',
    'LoadImage',
    'MultiView',
    'PatchMask',
    'RandomView',
    'SegmentTestView',
    'SegmentTrainView',
    'TrainView',
]
