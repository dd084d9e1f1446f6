"""Files of a work dir that are damaged or of another kind: what is whole in them is read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mmssl.reports.history import read_history, read_record, read_results

from ..helpers.refusals import refuses

WHOLE = [dict(step=s, iter=s, epoch=s / 2, loss=8.0 - s) for s in (1, 2, 3)]
FOREIGN: list[Any] = [
    [1, 2], 'text', None, 3, {}, dict(loss=1.0), dict(step='2', loss=1.0),
    dict(step=2, epoch=1.0, loss=1.0), dict(step=2, iter=2, epoch=0, loss=1.0),
    dict(step=math.nan, iter=1, epoch=1.0), dict(step=10**400, loss=1.0), dict(step=True),
]  # fmt: skip


def write(work_dir: Path, lines: list[str]) -> None:
    file = work_dir / '1' / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_bytes('\n'.join(lines).encode())


def test_foreign_lines_of_scalars_are_passed_over(tmp_path: Path) -> None:
    odd = [json.dumps(line) for line in FOREIGN] + ['{"step": 1, "lo', '\x00', '[' * 100_000]
    whole = [json.dumps(line | dict(note='text', more=[1])) for line in WHOLE]
    write(tmp_path, [*odd, whole[0], *odd, *whole[1:], *odd])
    found = read_history(tmp_path)
    assert found.val == {}
    assert found.train == {'loss': [(0.5, 7.0), (1.0, 6.0), (1.5, 5.0)]}


def test_a_file_of_foreign_lines_is_none(tmp_path: Path) -> None:
    write(tmp_path, [json.dumps(line) for line in FOREIGN])
    with refuses('folder', str(tmp_path)):
        read_history(tmp_path)


SESSION = dict(command='python train.py', seconds=2.5, peak_memory=100)


@pytest.mark.parametrize(
    'found',
    ['', '[]', '3', '{}', '{"sessions": {}}', '{"sessions": [1, null]}', '{"sessions": [{}]}',
     json.dumps(dict(sessions=[SESSION | dict(seconds='2')])),
     json.dumps(dict(sessions=[SESSION | dict(command=None)]))],
)  # fmt: skip
def test_run_info_of_another_kind_is_none(found: str, tmp_path: Path) -> None:
    (tmp_path / 'run.json').write_text(found)
    assert read_record(tmp_path) == {}


def test_whole_sessions_are_summed(tmp_path: Path) -> None:
    sessions = [SESSION, {}, SESSION | dict(peak_memory=300, command='b')]
    (tmp_path / 'run.json').write_text(json.dumps(dict(sessions=sessions)))
    found = read_record(tmp_path)
    assert (found['seconds'], found['peak_memory']) == (5.0, 300)
    assert found['commands'] == ['python train.py', 'b']


def test_results_of_another_kind_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / 'results').mkdir()
    files = {'knn': '{"knn/top1": 61.5, "note": "text"}', 'list': '[1]', 'cut': '{"a', 'no': '{}'}
    for name, text in files.items():
        (tmp_path / 'results' / f'{name}.json').write_text(text)
    assert read_results(tmp_path) == {'knn': {'knn/top1': 61.5}}
