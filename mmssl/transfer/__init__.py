"""Our backbones and pretraining files in mmdet and mmseg.

Importing this needs neither of them, and lets their configs name `mmssl.SwinTransformer`,
`mmssl.SimpleFPN` and others.
"""

from .. import models  # noqa: F401, fills the registry
from .settings import library_of
from .simple_fpn import SimpleFPN

__all__ = ['SimpleFPN', 'library_of']
