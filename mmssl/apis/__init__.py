"""What users call from Python."""

from .config import load_config

__all__ = ['load_config']
