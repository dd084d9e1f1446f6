"""Python API: models by name, features, classification, configs."""

from ..config.load import load_config
from ..zoo.hub import ModelHub, list_models
from .inference import FeatureExtractor, ImageClassificationInferencer, inference_model
from .methods import build_method, build_transform, list_methods
from .model import get_model

__all__ = [
    'FeatureExtractor',
    'ImageClassificationInferencer',
    'ModelHub',
    'build_method',
    'build_transform',
    'get_model',
    'inference_model',
    'list_methods',
    'list_models',
    'load_config',
]
