"""Image networks with one interface, `Backbone`."""

from .base import Backbone
from .cvt import CvT
from .resnet import ResNet
from .swin import SwinTransformer
from .timm import TimmBackbone
from .tokens import Features, Tokens
from .vil import ViL
from .vit import VisionTransformer

__all__ = [
    'Backbone',
    'CvT',
    'Features',
    'ResNet',
    'SwinTransformer',
    'TimmBackbone',
    'Tokens',
    'ViL',
    'VisionTransformer',
]
