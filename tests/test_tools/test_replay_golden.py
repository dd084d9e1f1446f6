"""The exit status of the replay tool, which scripts and CI read."""

import pytest

from ..helpers.command import start
from ..helpers.paths import GOLDEN


@pytest.mark.parametrize(
    ('case', 'code', 'last'), [('moby_linear_a', 0, 'OK'), ('sere_schedules_a', 1, 'FAILED')]
)
def test_a_case_that_does_not_replay_is_a_failed_command(case, code, last, tmp_path):
    done = start(GOLDEN / case, cwd=tmp_path, script='tools/replay_golden.py')
    assert (done.code, done.out.splitlines()[-1]) == (code, last)
