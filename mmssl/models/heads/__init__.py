"""Heads: losses with parameters or state, and classifier layers."""

from .contrastive import ContrastiveHead
from .distillation import DistillationHead
from .linear import LinearHead
from .projector import ProjectorHead
from .swav import SwAVHead
from .sweep import SweepHead

__all__ = [
    'ContrastiveHead',
    'DistillationHead',
    'LinearHead',
    'ProjectorHead',
    'SwAVHead',
    'SweepHead',
]
