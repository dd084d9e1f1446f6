"""How a backbone is judged."""

from . import knn
from .loops import KNNLoop
from .metrics import Accuracy
from .predictions import PredictionHook
from .probe_loop import ProbeLoop
from .segmentation import MeanIoU
from .sweep import SweepAccuracy, SweepHook

__all__ = [
    'Accuracy',
    'KNNLoop',
    'MeanIoU',
    'PredictionHook',
    'ProbeLoop',
    'SweepAccuracy',
    'SweepHook',
    'knn',
]
