"""Evaluation of backbones: kNN, linear probes, metrics, stored features."""

from . import knn
from .knn_loop import KNNLoop
from .metrics.accuracy import Accuracy
from .metrics.mean_iou import MeanIoU
from .predictions import PredictionHook
from .probe_loop import ProbeLoop
from .rank_loop import RankLoop
from .sweep_hook import SweepHook

__all__ = [
    'Accuracy',
    'KNNLoop',
    'MeanIoU',
    'PredictionHook',
    'ProbeLoop',
    'RankLoop',
    'SweepHook',
    'knn',
]
