"""tools/dev/bench.py: its cases, what it writes, and what it refuses."""

import importlib
import json
import sys

import pytest
import torch

from ..helpers.command import call, refused
from ..helpers.paths import REPO

SCRIPT = 'tools/dev/bench.py'
CASES = [
    *('deterministic', 'inference', 'knn', 'losses', 'optim', 'plan', 'probe', 'scalars', 'step'),
    'views',
]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """A script finds what stands beside it; so must one that runs in this process."""
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_cases_are_listed(capsys):
    done = call(capsys, script=SCRIPT)
    lines = done.out.splitlines()[-len(CASES) :]
    assert done.code == 0
    assert [line.split()[0] for line in lines] == CASES
    assert all(line.endswith('.') for line in lines)


def test_a_case_writes_contestants_references_and_ratios(capsys, tmp_path):
    file = tmp_path / 'knn.json'
    words = ('--bank', 300, '--queries', 10, '--repeat', 2, '--json', file)
    done = call(capsys, 'knn', *words, script=SCRIPT)
    assert done.code == 0, done.err
    found = json.loads(file.read_text())
    assert found['case'] == 'knn'
    assert found['machine']['threads'] > 0
    assert {'command', 'commit', 'versions'} <= set(found)
    (compared,) = found['comparisons'].values()
    assert compared['references'][:2] == ['textbook', 'sklearn']
    ours, textbook = (compared['contestants'][name] for name in ('ours', 'textbook'))
    pairs = zip(ours['values'], textbook['values'], strict=True)
    low, high = sorted(mine / theirs for mine, theirs in pairs)
    ratio = ours['ratio']['textbook']
    assert (ratio['min'], ratio['max']) == (low, high)
    assert ratio['median'] == pytest.approx((low + high) / 2)
    assert ours['facts']['same class'] == '100.0 %'
    assert 'ratio to textbook' in done.out
    assert f'torch {found["versions"]["torch"]}, commit' in done.out


def test_views_are_told_per_second_and_core(capsys, tmp_path):
    words = ('--only', 'CIFAR', '--images', 16, '--batch', 8, '--repeat', 1)
    done = call(capsys, 'views', *words, '--json', tmp_path / 'views.json', script=SCRIPT)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / 'views.json').read_text())
    assert list(found['comparisons']) == ['CIFAR, 2x32, workers 1']
    (compared,) = found['comparisons'].values()
    assert compared['unit'] == 'images/s and core'
    slow, fast = (compared['contestants'][kind] for kind in ('torchvision', 'fast'))
    ratio = fast['ratio']['torchvision']['median']
    assert ratio == pytest.approx(fast['median'] / slow['median'])


def test_rounds_leave_out_the_first_call():
    timing, calls = importlib.import_module('benchmarks.timing'), []
    compared = timing.Comparison({n: lambda n=n: calls.append(n) for n in 'ab'}, ['a'])
    taken = timing.in_turns(compared, 2)
    assert calls == list('ababab')
    assert {n: len(times) for n, times in taken.items()} == {'a': 2, 'b': 2}
    found = timing.ratio([1.0, 4.0, 2.0], [2.0, 4.0, 8.0])
    assert found == dict(median=0.5, min=0.25, max=1.0)


def test_what_is_counted_is_taken_once():
    timing = importlib.import_module('benchmarks.timing')
    calls = dict(a=lambda: 3.0, b=lambda: 4.0)
    compared = timing.Comparison(calls, ['b'], unit='MB', measure=timing.counted, once=True)
    found = timing.compare(compared, 5)
    assert found['contestants']['a']['values'] == [3.0]
    assert found['contestants']['a']['ratio']['b']['median'] == 0.75


def test_an_unknown_case_and_an_unknown_comparison(capsys):
    line = refused(call(capsys, 'steps', script=SCRIPT), 'case', 'steps')
    assert all(name in line for name in CASES)
    line = refused(call(capsys, 'optim', '--only', 'BYOL', script=SCRIPT))
    assert '--only: no match; available: ResNet-50, teacher' in line


def test_no_rounds(capsys):
    refused(call(capsys, 'optim', '--repeat', 0, script=SCRIPT), '--repeat', 0)


def test_a_peer_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lightly.loss', None)
    line = refused(call(capsys, 'losses', '--peer', script=SCRIPT), '--peer', 'lightly')
    assert 'see the head of peers.py' in line
