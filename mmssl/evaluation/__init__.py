"""How a backbone is judged."""

from . import knn
from .loops import KNNLoop
from .metrics import Accuracy
from .predictions import PredictionHook
from .segmentation import MeanIoU

__all__ = ['Accuracy', 'KNNLoop', 'MeanIoU', 'PredictionHook', 'knn']
