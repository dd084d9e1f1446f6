"""Cells of the table: what one encoder reaches by one measure on one data set, as files.

A cell is a folder ENCODER/DATA/MEASURE with `result.json` and `images.npz`. It is read again when
everything that it depends on is the same, and made anew otherwise; so a run that was killed goes
on, and a new encoder or data set adds a row or a column.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.io import atomic_path, atomic_write, read_json, to_plain
from ..engine.hooks.run_info_hook import command_line, machine, versions
from ..evaluation.image_scores import ImageScores
from ..results.result_file import FORMAT, commit
from ..version import __version__

FILE, ARRAYS = 'result.json', 'images.npz'
Arrays = dict[str, NDArray[Any]]


class Made(NamedTuple):
    """What a measure found: scores of images, other arrays, and facts; ``why`` it found nothing."""

    scores: ImageScores | None = None
    arrays: Arrays | None = None
    facts: dict[str, Any] | None = None
    why: str = ''


class Cell(NamedTuple):
    """A stored cell: the content of its `result.json`, and its arrays."""

    content: dict[str, Any]
    arrays: Arrays

    @property
    def scores(self) -> ImageScores | None:
        """The scores of its images, None where there are none."""
        if 'rows' not in self.arrays:
            return None
        return ImageScores(self.arrays['rows'], self.content['settings']['figure'])


class Store:
    """The folder of the cells."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def cell(
        self,
        place: tuple[str, str, str],
        key: dict[str, Any],
        make: Callable[[], Made],
        described: Callable[[], dict[str, Any]],
    ) -> tuple[Cell, bool]:
        """Return the cell at a place (encoder, data, measure), and whether it was there already.

        ``key`` is plain data that the result depends on, with ``settings`` among it; ``described``
        returns what else is recorded.
        """
        folder = self.root.joinpath(*map(folder_name, place))
        key = to_plain(dict(key, measure=place[2], version=__version__))
        key.setdefault('settings', {})
        found = _read(folder, key)
        if found is not None:
            return found, True
        made = make()
        arrays = dict(made.arrays or {})
        settings = dict(key['settings'], **(made.facts or {}))
        metric = None
        if made.scores is not None:
            arrays['rows'] = made.scores.rows
            settings['figure'] = made.scores.kind
            value = made.scores.value()
            metric = dict(name=place[2], last=value, best=value, best_at='')
        content = to_plain(
            dict(
                format=FORMAT,
                protocol=f'evaluate {place[2]}',
                key=key,
                **described(),
                settings=settings,
                metric=metric,
                why=made.why,
                command=command_line(),
                commit=commit(),
                versions=versions(),
                machine=machine(),
            )
        )
        with atomic_path(folder / ARRAYS) as beside, open(beside, 'wb') as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        atomic_write(folder / FILE, json.dumps(content, indent=2) + '\n')
        return Cell(content, arrays), False


def folder_name(text: str) -> str:
    """Return a text as the name of a folder; what is replaced gets a hash, so none meet."""
    plain = re.sub(r'[^\w.+=-]', '_', text)[:80].lstrip('.') or '_'
    mark = hashlib.sha256(text.encode()).hexdigest()[:6]
    return plain if plain == text else f'{plain}-{mark}'


def _read(folder: Path, key: dict[str, Any]) -> Cell | None:
    """Return the cell of a folder, None where it is missing, damaged or of another key."""
    path = folder / FILE
    content = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or content.get('key') != key:
        return None
    try:
        with np.load(folder / ARRAYS) as file:
            return Cell(content, {name: file[name] for name in file.files})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
