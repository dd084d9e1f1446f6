"""Projections between a backbone's features and an objective."""

from .dino import DINONeck, Prototypes
from .mlp import MLP
from .relation import RelationNeck

__all__ = ['MLP', 'DINONeck', 'Prototypes', 'RelationNeck']
