"""The trainable or stateful ends of a method."""

from .contrastive import ContrastiveHead
from .distillation import DistillationHead
from .linear import LinearHead
from .swav import SwAVHead
from .sweep import SweepHead

__all__ = ['ContrastiveHead', 'DistillationHead', 'LinearHead', 'SwAVHead', 'SweepHead']
