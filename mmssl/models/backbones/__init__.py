"""Image networks behind one contract: see `Backbone`."""

from .base import Backbone, Features, Tokens
from .cvt import CvT
from .resnet import ResNet
from .swin import SwinTransformer
from .vil import ViL
from .vit import VisionTransformer

__all__ = [
    'Backbone',
    'CvT',
    'Features',
    'ResNet',
    'SwinTransformer',
    'Tokens',
    'ViL',
    'VisionTransformer',
]
