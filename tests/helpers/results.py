"""Read the results of a run."""

import json
from pathlib import Path
from typing import Any

TRAIN, TEST = 'tools/train.py', 'tools/test.py'


def result(folder: Path) -> dict[str, Any]:
    """Return the newest result of a work dir, which its run keeps in a dated folder too."""
    newest = (folder / 'result.json').read_text()
    assert newest in [path.read_text() for path in folder.glob('*/result.json')]
    found: dict[str, Any] = json.loads(newest)
    return found
