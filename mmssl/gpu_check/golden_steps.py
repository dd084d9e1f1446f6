"""Replay recorded steps, probes and kNN on the device, by tools/replay_golden.py."""

import json
import subprocess
import sys
from typing import Any

from ..zoo.hub import root
from .parts import NO_TIME, Parts

# exact first; the formats of steps only after them
FORMATS = {'cuda': ('float64', 'float32', 'tf32', 'bfloat16'), 'cpu': ('float64',)}


def cases() -> tuple[list[str], list[str]]:
    """Return the folders of recorded steps, and of probes and kNN."""
    folder = root() / 'tests' / 'golden'
    kinds = {str(f.parent): json.loads(f.read_text())['kind'] for f in folder.glob('*/case.json')}
    others = [name for name, kind in kinds.items() if kind == 'evaluation' or '_knn_' in name]
    return sorted(name for name, kind in kinds.items() if kind == 'step'), sorted(others)


def check(parts: Parts) -> None:
    """Replay the cases, exact ones first; each case and format is a part."""
    steps, others = cases()
    if not steps:
        parts.add('recorded cases', None, note='tests/golden is not here: it needs a clone')
        return
    jobs: list[tuple[list[str], tuple[str, ...]]] = [(steps + others, ('float64',))]
    if FORMATS[parts.device][1:]:
        jobs.append((steps, FORMATS[parts.device][1:]))
    for number, (folders, formats) in enumerate(jobs):
        out = parts.folder / f'replay_{number}.json'
        words = [*folders, '--device', parts.device, '--dtype', *formats, '--out', str(out)]
        tool = root() / 'tools' / 'replay_golden.py'
        process = subprocess.Popen([sys.executable, str(tool), *words])
        try:
            process.wait(max(parts.left, 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        found = json.loads(out.read_text()) if out.is_file() else []
        for outcome in found:
            _note(parts, outcome)
        missing = len(folders) * len(formats) - len(found)
        if missing and process.returncode in (0, 1, -9):
            parts.add(f'{missing} more in {", ".join(formats)}', None, note=NO_TIME)
        elif missing:
            parts.add('replay', False, error=f'ended with status {process.returncode}')


def _note(parts: Parts, outcome: dict[str, Any]) -> None:
    """Note the outcome of one case in one format."""
    failures = outcome['failures']
    parts.add(
        f'{outcome["case"]} {outcome["dtype"]}',
        not failures,
        outcome['seconds'],
        **(dict(error='; '.join(failures[:5])) if failures else {}),
        **{f'{name}:': error for name, error in outcome['errors'].items()},
    )
