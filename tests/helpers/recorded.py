"""Models of the recorded steps in tests/golden."""

import json
from pathlib import Path
from typing import Any

from mmssl.registry import MODELS

from ..replay import cases
from .paths import GOLDEN


def recorded(name: str) -> tuple[Any, Path]:
    """Build the model of a recorded step; return it and the official file."""
    block = json.loads((GOLDEN / name / 'case.json').read_text())['replay']
    return MODELS.build(cases.model(block)).double(), GOLDEN / name / 'official.pth'
