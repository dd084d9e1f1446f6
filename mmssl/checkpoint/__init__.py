"""Files of weights: read safely, translated between layouts, loaded with a report."""

from .convert import Report, load
from .dialects import Dialect, register_dialect, sides
from .fetch import local_path
from .reader import read
from .template import Pair

__all__ = [
    'Dialect',
    'Pair',
    'Report',
    'load',
    'local_path',
    'read',
    'register_dialect',
    'sides',
]
