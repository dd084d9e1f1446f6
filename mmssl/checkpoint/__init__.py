"""Checkpoint files: read safely, translated between layouts, loaded with a report."""

from .fetch.fetch import local_path
from .layouts import Layout, branches, register_layout
from .layouts.name_template import NamePair
from .load import Report, load
from .reader.read_file import read

__all__ = [
    'Layout',
    'NamePair',
    'Report',
    'branches',
    'load',
    'local_path',
    'read',
    'register_layout',
]
