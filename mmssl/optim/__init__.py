"""Optimizers, parameter groups, their schedules, and what is done to gradients."""

from .lars import LARC, LARS
from .recipe import Recipe

__all__ = ['LARC', 'LARS', 'Recipe']
