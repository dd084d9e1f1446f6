"""`make gpu`: what is run, skipped and written, and the verdict, with checks of a line each."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mmssl.cli import gpu
from mmssl.gpu_check.checks import CHECKS, Check
from mmssl.gpu_check.learning import judge as judge_learning
from mmssl.gpu_check.session import Session, total_seconds
from mmssl.gpu_check.verdict import judge

from ..helpers.command import call, start
from ..helpers.paths import REPO
from ..helpers.refusals import refuses

WRITE = 'import json, sys; json.dump(dict(parts={parts}), open(sys.argv[1], "w"))'
GOOD, BAD, NOT_RUN = (
    dict(name='a', ok=True, seconds=1.0, value=2.5),
    dict(name='b', ok=False, seconds=1.0, error='ValueError: <off>', trace='line 7'),
    dict(name='c', ok=None, seconds=0.0, note='no time'),
)


def check(name, kind='check', seconds=10.0, cpu=10.0):
    return Check(name, f'title of {name}', kind, seconds, cpu, 'nothing:at_all')


def leaves(*parts):
    """Return the code of a check that leaves these parts."""
    return WRITE.format(parts=list(parts))


def session(tmp_path, codes, checks=None, budget=1000.0, **settings):
    """Return a session whose checks run the code of their name."""
    checks = checks or [check(name) for name in codes]

    def command(one, limit, folder):
        return [sys.executable, '-S', '-c', codes[one.name], str(folder / 'parts.json')]

    settings = dict(device='cuda', **settings)
    return Session(checks, tmp_path, budget=budget, command=command, **settings)


def statuses(one):
    return {result['name']: result['status'] for result in one.results}


def stored(tmp_path):
    return json.loads((tmp_path / 'gpu.json').read_text())


def test_every_outcome_of_a_process_and_the_next_check_runs(tmp_path):
    codes = dict(
        good=leaves(GOOD),
        bad=leaves(GOOD, BAD),
        part=leaves(GOOD, NOT_RUN),
        dead=f'{leaves(GOOD)}; import os, signal; os.kill(os.getpid(), signal.SIGSEGV)',
        error='raise SystemExit("no such kernel")',
        silent='pass',
        last=leaves(GOOD),
    )
    lines = []
    one = session(tmp_path, codes)
    verdict = one.run(lines.append)
    assert statuses(one) == dict(
        good='passed',
        bad='failed',
        part='incomplete',
        dead='crashed',
        error='crashed',
        silent='crashed',
        last='passed',
    )
    notes = {result['name']: result['note'] for result in one.results}
    assert notes == dict(
        good='',
        bad='b: ValueError: <off>',
        part='1 of 2 parts were run',
        dead='SIGSEGV',
        error='no such kernel',
        silent='it left no parts',
        last='',
    )
    assert verdict.status == 1
    assert verdict.line.startswith('FAILED, 4 of 7 checks in ')
    assert 'dead crashed (SIGSEGV)' in verdict.line
    assert len(lines) == 7 and lines[1].startswith('failed')
    # what a dead process had found is kept
    assert stored(tmp_path)['checks'][3]['parts'] == [GOOD]


def test_a_check_that_hangs_is_ended_with_its_children_and_the_next_runs(tmp_path):
    child = 'import time; time.sleep(600)'
    codes = dict(
        hangs=f'{leaves(GOOD)}; import subprocess; '
        f'p = subprocess.Popen([sys.executable, "-S", "-c", "{child}"]); '
        'open(sys.argv[1] + ".pid", "w").write(str(p.pid)); p.wait()',
        last=leaves(GOOD),
    )
    checks = [check('hangs', seconds=1.5), check('last', seconds=30)]
    one = session(tmp_path, codes, checks, budget=31.5)
    assert one.run(lambda _: None).status == 1
    assert statuses(one) == dict(hangs='timed out', last='passed')
    hung = one.results[0]
    assert hung['parts'] == [GOOD]
    assert 1.5 <= hung['seconds'] < 20
    pid = (tmp_path / 'hangs' / 'parts.json.pid').read_text()
    state = Path(f'/proc/{pid}/stat')
    assert not state.exists() or state.read_text().split()[2] == 'Z'


def test_files_are_written_after_each_check(tmp_path):
    seen = []
    codes = dict(first=leaves(GOOD), second=leaves(BAD))
    one = session(tmp_path, codes)
    one.run(lambda _: seen.append((stored(tmp_path), (tmp_path / 'gpu.html').read_text())))
    (first, page), (second, whole) = seen
    assert [c['name'] for c in first['checks']] == ['first']
    assert [c['name'] for c in second['checks']] == ['first', 'second']
    assert first['status'] == 0 and second['status'] == 1
    assert 'title of first' in page and 'title of second' not in page
    assert 'value 2.5' in page
    # an error is text of the page, and its traceback is folded away
    assert 'ValueError: &lt;off&gt;' in whole and 'line 7' in whole and '<off>' not in whole
    assert second['verdict'] in whole.replace('&lt;', '<').replace('&gt;', '>')


KINDS = [
    check('golden', seconds=40),
    check('compile', 'measurement', seconds=60),
    check('speed', 'measurement', seconds=100),
    check('learning', 'learning', seconds=100),
]


@pytest.mark.parametrize(
    ('budget', 'run', 'limits'),
    [
        (300, ['golden', 'compile', 'speed', 'learning'], [40, 60, 100, 100]),
        # measurements leave the learning run its time; half of a limit is enough to begin
        (175, ['golden', 'compile', 'speed', 'learning'], [40, 60, 75, 100]),
        (140, ['golden', 'compile', 'learning'], [40, 40, 100]),
        (110, ['golden', 'learning'], [40, 100]),
        (60, ['golden', 'learning'], [40, 60]),
        (30, ['golden'], [30]),
        # more than the sum of all: everything gets more
        (600, ['golden', 'compile', 'speed', 'learning'], [80, 120, 200, 200]),
    ],
)
def test_the_budget_decides_what_is_run_and_for_how_long(tmp_path, budget, run, limits):
    codes = {c.name: leaves(GOOD) for c in KINDS}
    one = session(tmp_path, codes, KINDS, budget=budget)
    verdict = one.run(lambda _: None)
    assert [name for name, status in statuses(one).items() if status == 'passed'] == run
    given = [r['limit'] for r in one.results if r['status'] == 'passed']
    # the processes themselves take some of the budget
    assert given == pytest.approx(limits, abs=5)
    skipped = [r for r in one.results if r['status'] == 'skipped']
    assert len(skipped) == 4 - len(run)
    for result in skipped:
        assert result['note'].endswith(f'for its {result["limit"]:.0f} s')
        assert result['name'] in verdict.line.partition('not run: ')[2]
    assert verdict.status == 0


def test_without_a_gpu_only_what_a_cpu_can_is_run_and_said(tmp_path):
    checks = [check('golden'), check('speed', cpu=0.0)]
    one = session(tmp_path, dict(golden=leaves(GOOD)), checks, no_gpu='no driver')
    one.device = 'cpu'
    verdict = one.run(lambda _: None)
    assert statuses(one) == dict(golden='passed', speed='not possible')
    assert verdict.status == 0
    assert verdict.line.startswith('no GPU: no driver; 1 checks passed on the CPU in ')
    assert verdict.line.endswith('not run: speed; nothing was tried on a GPU')


def result(status, name='a', note=''):
    return dict(name=name, status=status, note=note)


def test_verdict_of_a_run_in_which_all_passed():
    found = judge([result('passed'), result('incomplete', 'b', '1 of 2')], '', 12.4)
    assert found == ('mmssl works here: 2 checks passed in 12 s; b incomplete (1 of 2)', 0)


@pytest.mark.parametrize('status', ['failed', 'crashed', 'timed out'])
def test_one_failure_is_the_verdict_with_and_without_a_gpu(status):
    results = [result('passed'), result(status, 'b', 'why')]
    for reason, head in (('', ''), ('none', 'no GPU: none; ')):
        found = judge(results, reason, 3.0)
        assert found.status == 1
        assert found.line.startswith(f'{head}FAILED, 1 of 2 checks in 3 s; b {status} (why)')


@pytest.mark.parametrize(('after', 'good'), [(44.9, False), (45.0, True), (80.0, True)])
def test_learning_has_to_gain_fifteen_points(after, good):
    if good:
        judge_learning(30.0, after)
    else:
        with pytest.raises(AssertionError, match=r'30.0 -> 44.9 %: 15 points more are asked for'):
            judge_learning(30.0, after)


# the real list ------------------------------------------------------------------------------------
def test_the_list_is_in_order_and_fits_its_times():
    kinds = [c.kind for c in CHECKS]
    assert kinds == sorted(kinds, key=['check', 'measurement', 'learning'].index)
    assert sum(c.seconds for c in CHECKS if c.kind == 'check') <= 150
    assert total_seconds(CHECKS, 'cuda') <= 480
    assert total_seconds(CHECKS, 'cpu') < 240
    assert all(callable(c.load()) for c in CHECKS)


def test_the_command_runs_what_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(gpu, 'missing_gpu', lambda: 'the driver is too old')
    out = tmp_path / 'out'
    done = call(capsys, '--only', 'speed', '--out', out, script='tools/gpu.py')
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith('gpu: no GPU: the driver is too old; 0 checks')
    (only,) = stored(out)['checks']
    assert (only['name'], only['status']) == ('speed', 'not possible')


def test_refusals(tmp_path):
    with refuses('--budget', 0):
        gpu.parse(['--budget', '0'])
    with refuses('--only', ['nothing']):
        gpu.main(['--only', 'nothing'])
    (tmp_path / 'train').mkdir()
    with refuses('--data', str(tmp_path)):
        gpu.parse(['--data', str(tmp_path)])
    (tmp_path / 'val').mkdir()
    assert gpu.parse(['--data', str(tmp_path)]).data == tmp_path


def test_the_script_unpacks_wheels_and_needs_nothing_installed(tmp_path):
    with zipfile.ZipFile(tmp_path / 'helper-1.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr('carried_along.py', 'print("carried along", __file__)')
    (tmp_path / 'code.py').write_text(
        'import importlib.util, carried_along\nprint(importlib.util.find_spec("mmssl").origin)\n'
    )
    fake = tmp_path / 'python'
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *zipfile*) exec {sys.executable} "$@";; esac\n'
        f'echo "args: $*"; exec {sys.executable} -S {tmp_path / "code.py"}\n'
    )
    fake.chmod(0o755)
    given = dict(PYTHON=str(fake), WHEELS=str(tmp_path), PYTHONPATH='')
    done = start('--budget', 9, cwd=tmp_path, script='tools/dev/gpu.sh', **given)
    assert done.code == 0, done.err
    args, carried, package = done.out.splitlines()
    assert package == str(REPO / 'mmssl' / '__init__.py')
    assert args.endswith('tools/gpu.py --budget 9')
    assert carried.startswith('carried along')
    assert not Path(carried.split()[-1]).exists()  # the unpacked files are gone again
    empty = tmp_path / 'empty'
    empty.mkdir()
    done = start(cwd=tmp_path, script='tools/dev/gpu.sh', **given | dict(WHEELS=str(empty)))
    assert (done.code, done.err) == (2, f'error: WHEELS={empty}: no .whl file there\n')
