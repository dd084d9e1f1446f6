"""The exit status of the replay tool, which scripts and CI read."""

import pytest

from ..helpers.command import start
from ..helpers.paths import GOLDEN
from ..replay import command
from ..replay.command import kind_of


@pytest.mark.parametrize(
    ('case', 'code', 'last'), [('moby_linear_a', 0, 'OK'), ('sere_schedules_a', 1, 'FAILED')]
)
def test_a_case_that_does_not_replay_is_a_failed_command(case, code, last, tmp_path):
    done = start(GOLDEN / case, cwd=tmp_path, script='tools/replay_golden.py')
    assert (done.code, done.out.splitlines()[-1]) == (code, last)


@pytest.mark.parametrize('error', [RuntimeError, KeyError, ValueError])
def test_a_case_that_cannot_be_read_leaves_the_others(monkeypatch, capsys, error):
    def unreadable(folder, *_):
        if folder.name == 'unknown':
            raise error('view_0')
        return kind_of(GOLDEN / 'moby_linear_a')(folder, *_)

    monkeypatch.setattr(command, 'kind_of', lambda _: unreadable)
    assert command.main(['unknown', str(GOLDEN / 'moby_linear_a')]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in ('OK', 'FAILED')] == ['FAILED', 'OK']
