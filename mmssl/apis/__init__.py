"""What users call from Python."""

from .config import load_config
from .hub import ModelHub, list_models
from .inference import FeatureExtractor, ImageClassificationInferencer, inference_model
from .model import get_model

__all__ = [
    'FeatureExtractor',
    'ImageClassificationInferencer',
    'ModelHub',
    'get_model',
    'inference_model',
    'list_models',
    'load_config',
]
