"""Whole runs of the official programs by a plain loop over the method: the same numbers."""

import pytest

from ..helpers.paths import GOLDEN
from ..replay import plain_loop
from ..replay.whole import RUNS, WholeRun

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', sorted(RUNS))
def test_a_plain_loop_is_the_official_run(name: str) -> None:
    done = WholeRun(GOLDEN / name, 1e-9, train=plain_loop.train)
    assert done.failures == []
    assert sum(group.count for group in done.groups.values()) == RUNS[name]
