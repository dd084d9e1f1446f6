"""tools/dev/learning_parity.py: the arithmetic of its tables, against other implementations."""

import importlib
import json

import pytest
import torch

from ..helpers.command import call, refused
from ..helpers.paths import REPO

SCRIPT = 'tools/dev/learning_parity.py'
OURS, THEIRS = [33.1, 35.4, 34.0], [33.9, 34.1, 31.2]


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    threads = torch.get_num_threads()
    yield importlib.import_module('learning_parity')
    torch.set_num_threads(threads)


def run(method, seed, ours, theirs):
    figures = dict(start=20.0 + seed, ours=ours, theirs=theirs, seconds=10 * seed)
    return dict(kind='run', method=method, seed=seed, form='as documented', epochs=20, **figures)


@pytest.fixture
def finished(parity, tmp_path):
    """Return a file of finished work of both methods, so that nothing is trained."""
    rows = {
        'ours': [2.0, 4.0, 5.0],
        'as documented': [2.0, 4.2, 5.0],
        'views joined': [2.1, 4.0, 5.0],
    }
    losses = dict(float32=rows, float64=rows)
    lines = [dict(kind='steps', method='dino', losses=losses)]
    for seed, (ours, theirs) in enumerate(zip(OURS, THEIRS, strict=True)):
        lines.append(run('dino', seed, ours, theirs))
    file = tmp_path / 'parity.jsonl'
    file.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return file


def test_intervals_are_those_of_scipy(parity):
    stats = pytest.importorskip('scipy.stats')
    for count, quantile in parity.QUANTILES.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, count - 1), abs=5e-4)
    mean, width = parity.interval([a - b for a, b in zip(OURS, THEIRS, strict=True)])
    low, high = stats.ttest_rel(OURS, THEIRS).confidence_interval(0.95)
    assert (mean - width, mean + width) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize(
    ('theirs', 'verdict'), [(THEIRS, 'within'), ([30.0, 32.4, 31.0], 'differs')]
)
def test_a_difference_is_judged_by_its_own_interval(parity, theirs, verdict):
    runs = [run('dino', seed, *pair) for seed, pair in enumerate(zip(OURS, theirs, strict=True))]
    assert parity.comparison('dino', 'as documented', 20, runs)[7] == verdict


def test_finished_work_is_told_and_not_done_again(parity, finished, capsys):
    done = call(capsys, 'none', '--out', finished, '--methods', 'dino', script=SCRIPT)
    assert done.code == 0, done.err
    cells = [[c.strip() for c in line.strip('|').split('|')] for line in done.out.splitlines()]
    gaps = {row[1]: row[2:4] for row in cells if row[0] == 'dino' and len(row) == 6}
    assert gaps == {'as documented': ['0e+00', '5e-02'], 'views joined': ['5e-02', '0e+00']}
    (learnt,) = (row for row in cells if len(row) == 10 and row[0] == 'dino')
    assert learnt[1:4] == ['21.0', '34.17 ± 2.88', '33.07 ± 4.02']
    assert learnt[5:8] == ['20', '+1.10 ± 4.49', 'within'] and learnt[9] == '20'


def test_too_many_seeds(parity, capsys):
    refused(call(capsys, 'none', '--seeds', *range(9), script=SCRIPT), '--seeds', 9)
