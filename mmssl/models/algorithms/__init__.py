"""Pretraining methods, one file each, in the order of the paper's equations."""

from .base import Pretrainer
from .dino import DINO
from .distillation import Distillation
from .esvit import EsViT
from .ibot import iBOT
from .moby import MoBY
from .moco import MoCo
from .mocov3 import MoCoV3
from .sere import SERE
from .swav import SwAV

__all__ = [
    'DINO',
    'SERE',
    'Distillation',
    'EsViT',
    'MoBY',
    'MoCo',
    'MoCoV3',
    'Pretrainer',
    'SwAV',
    'iBOT',
]
