"""Read the files of a work dir: logged scalars, run.json and evaluation results."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..core import UserError
from ..core.io import read_json, read_sessions

Points = list[tuple[float, float]]
RESULTS = 'results'  # folder of the work dir with one .json of metrics for each evaluation


class History(NamedTuple):
    """Scalars by name as (epoch, value); ``train`` has fractions of epochs, ``val`` whole ones."""

    train: dict[str, Points]
    val: dict[str, Points]


def _lines(work_dir: Path) -> list[list[dict[str, Any]]]:
    """Return the logged lines, one list for each start of the run, oldest first."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [[*_whole_lines(file)] for file in files]


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of scalars; a run that was killed may have written one in part.

    Lines of another kind are passed over, and so are values that are no numbers.
    """
    for text in file.read_text('utf-8', errors='replace').splitlines():
        with suppress(ValueError, RecursionError):
            if numbers := _scalars(json.loads(text)):
                yield numbers


def _scalars(line: Any) -> dict[str, Any]:
    """Return the numbers of a logged line; {} where it does not say when it was logged."""
    numbers = _numbers(line)
    when = ('step', 'iter', 'epoch') if 'epoch' in numbers else ('step',)
    if not all(math.isfinite(numbers.get(key, math.nan)) for key in when):
        return {}
    return numbers if numbers.get('epoch', 1) > 0 else {}


def _numbers(entry: Any) -> dict[str, Any]:
    """Return the numbers of an entry, which floats can hold; those of no dict are none."""
    found = entry.items() if isinstance(entry, dict) else ()
    return {
        key: value
        for key, value in found
        if type(value) is float or (type(value) is int and value.bit_length() < 64)
    }


def _joined(starts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Put the starts together: what a later one repeats or begins anew replaces the earlier."""
    kept: list[dict[str, Any]] = []
    for lines in starts:
        if lines:
            first = lines[0]['step']
            kept = [line for line in kept if line['step'] < first]
            kept += lines
    return kept


def read_history(work_dir: Path) -> History:
    """Read the scalars of all starts of a run. Raises UserError when there are none."""
    starts = _lines(work_dir)
    train = _joined([[line for line in lines if 'epoch' in line] for lines in starts])
    val = _joined([[line for line in lines if 'epoch' not in line] for lines in starts])
    if not train and not val:
        raise UserError(
            f'{work_dir}: no vis_data/scalars.json below it; give the work dir of a training',
            key='folder',
            value=str(work_dir),
        )
    per_epoch = max((line['iter'] / line['epoch'] for line in train), default=1.0)
    return History(
        _by_name([(line['iter'] / per_epoch, line) for line in train]),
        _by_name([(float(line['step']), line) for line in val]),
    )


def _by_name(lines: list[tuple[float, dict[str, Any]]]) -> dict[str, Points]:
    series: dict[str, Points] = {}
    for at, line in lines:
        for name, value in line.items():
            if name not in ('step', 'iter', 'epoch'):
                series.setdefault(name, []).append((at, float(value)))
    return series


def read_record(work_dir: Path) -> dict[str, Any]:
    """Return the last entry of run.json, with ``seconds`` of all entries; {} without the file."""
    file = work_dir / 'run.json'
    if not file.is_file():
        return {}
    sessions = read_sessions(file)
    if not sessions:
        return {}
    total = sum(session['seconds'] for session in sessions)
    peak = max(session['peak_memory'] for session in sessions)
    commands = [session['command'] for session in sessions]
    return {**sessions[-1], 'seconds': total, 'peak_memory': peak, 'commands': commands}


def read_results(work_dir: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of every file in results/, by the file's name."""
    files = sorted((work_dir / RESULTS).glob('*.json'))
    found = {file.stem: read_json(file) for file in files}
    return {name: _numbers(metrics) for name, metrics in found.items() if _numbers(metrics)}
