"""Networks and methods."""

from . import algorithms, backbones, classifier, encoder, heads, necks, preprocessor

__all__ = ['algorithms', 'backbones', 'classifier', 'encoder', 'heads', 'necks', 'preprocessor']
