"""Our backbones and pretraining files in mmdet and mmseg; importing it needs neither of them."""

from .. import models  # noqa: F401, `mmssl.SwinTransformer` and others can be named in configs
from .detection import SimpleFPN

__all__ = ['SimpleFPN']
