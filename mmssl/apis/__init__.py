"""Python API: models by name, features, classification, configs."""

from ..config.load import load_config
from ..zoo.hub import ModelHub, list_models
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
