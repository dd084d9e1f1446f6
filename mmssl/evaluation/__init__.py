"""How a backbone is judged."""

from . import knn
from .loops import KNNLoop
from .metrics import Accuracy
from .predictions import PredictionHook

__all__ = ['Accuracy', 'KNNLoop', 'PredictionHook', 'knn']
