"""Networks and methods."""

from . import algorithms, backbones, classifier, heads, necks, preprocessor

__all__ = ['algorithms', 'backbones', 'classifier', 'heads', 'necks', 'preprocessor']
