"""Image networks with one interface, `Backbone`."""

from .base import Backbone
from .build import backbone_settings, build_backbone
from .cvt import CvT
from .module import ModuleBackbone
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
    'ModuleBackbone',
    'ResNet',
    'SwinTransformer',
    'TimmBackbone',
    'Tokens',
    'ViL',
    'VisionTransformer',
    'backbone_settings',
    'build_backbone',
]
