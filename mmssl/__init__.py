"""Self-supervised learning with vision transformers and ConvNets on mmengine."""

from .version import __version__

__all__ = ['__version__']
