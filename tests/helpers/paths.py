"""Folders of the repository."""

from pathlib import Path

HERE = Path(__file__).parents[1]
REPO = HERE.parent
GOLDEN = HERE / 'golden'
