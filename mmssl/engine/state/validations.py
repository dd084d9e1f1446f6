"""Which validations of a run have ended: ``validations.json`` beside its training files.

An epoch's training file is written before the validation that belongs to it. Whether that one
ended is kept here, and the best value by then; without the file it is measured again.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ...core.io import atomic_write, is_number, read_json

FILE = 'validations.json'


class Ended(NamedTuple):
    """A validation that has ended, and the best value of the run by then (None: none is kept)."""

    best: float | None


def _stored(folder: Path, run: str) -> dict[str, Any]:
    """Return {iterations done: best value} of a run; empty for another run or a damaged file."""
    file = folder / FILE
    found = read_json(file) if file.is_file() else None
    if not isinstance(found, dict) or found.get('run') != run:
        return {}
    ended = found.get('ended')
    return ended if isinstance(ended, dict) else {}


def note(folder: Path, run: str, iteration: int, best: float | None) -> None:
    """Note that the validation after ``iteration`` iterations has ended."""
    ended = _stored(folder, run) | {str(iteration): best}
    atomic_write(folder / FILE, json.dumps(dict(run=run, ended=ended)))


def find(folder: Path, run: str, iteration: int) -> Ended | None:
    """Return the validation after ``iteration`` iterations, None where it is not noted."""
    ended = _stored(folder, run)
    best = ended.get(str(iteration), 'nothing')
    return Ended(best) if best is None or is_number(best) else None
