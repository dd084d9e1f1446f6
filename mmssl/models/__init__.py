"""Networks and methods."""

from . import algorithms, backbones, classifier, encoder, heads, necks, preprocessor, segmenter

__all__ = [
    'algorithms',
    'backbones',
    'classifier',
    'encoder',
    'heads',
    'necks',
    'preprocessor',
    'segmenter',
]
