"""Processes that join a group, or do not: what each says, and that each one ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from mmssl.core import watchdog

from ..helpers.command import free_port
from ..helpers.paths import REPO

pytestmark = pytest.mark.slow
ENDS = 60  # seconds, of which starting Python takes most; none of the limits is above 3


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Return a starter of processes of one group; they end with the test."""
    found: list[subprocess.Popen] = []
    port = free_port()

    def start(rank: object, world: object = 2, meet: int = 0, **more: object):
        settings = {'timeout': 3, 'join': 3, **more.pop('dist_cfg', {})}
        environment = dict(
            PYTHONPATH=str(REPO),
            OMP_NUM_THREADS='1',
            RANK=str(rank),
            LOCAL_RANK='0',
            WORLD_SIZE=str(world),
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=port,
            DIST_CFG=json.dumps(settings),
        )
        process = subprocess.Popen(
            [sys.executable, '-m', 'tests.helpers.joining', str(meet)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env={k: v for k, v in os.environ.items() if 'TORCHELASTIC' not in k}
            | environment
            | more,
        )
        found.append(process)
        return process

    yield start
    for process in found:
        process.kill()
        process.communicate()


def error_lines(process: subprocess.Popen) -> list[str]:
    """Wait for the end of a process, and return its lines; none may be of a stack."""
    _, text = process.communicate(timeout=ENDS)
    assert 'Traceback' not in text, text
    return [line for line in text.splitlines() if line.startswith('error: ')]


def test_processes_that_join_say_nothing(started) -> None:
    both = [started(rank, meet=10, dist_cfg=dict(timeout=60, join=60)) for rank in (0, 1)]
    assert [error_lines(process) for process in both] == [[], []]
    assert [process.returncode for process in both] == [0, 0]


def test_each_process_ends_by_its_own_clock_when_the_first_is_stopped(started) -> None:
    """The first process holds the store through which the others would learn of each other."""
    first, second = (started(rank, meet=30_000, dist_cfg=dict(join=60)) for rank in (0, 1))
    assert [process.stdout.readline() for process in (first, second)] == ['joined\n'] * 2
    first.send_signal(signal.SIGSTOP)
    lines = error_lines(second)
    assert len(lines) == 1 and 'rank 1' in lines[0] and '3 s' in lines[0]
    assert second.returncode == watchdog.LOST
    assert first.poll() is None
    first.send_signal(signal.SIGCONT)
    assert first.wait(ENDS) in (1, watchdog.LOST)  # its peer is gone, or it waited for too long


def test_a_rank_that_never_comes_is_named_once(started) -> None:
    first, second = started(0, 3), started(1, 3)
    lines = error_lines(first)
    assert len(lines) == 1 and 'rank 2 of 3' in lines[0]
    assert error_lines(second) == []
    assert [first.returncode, second.returncode] == [2, 2]


def test_two_first_ranks(started) -> None:
    """On one machine the second cannot open the port; whoever is missing is named by the first."""
    both = [started(0), started(0)]
    lines = [error_lines(process) for process in both]
    assert [len(found) for found in lines] == [1, 1]
    port = [found for (found,) in lines if 'port' in found]
    assert len(port) == 1
    assert sum('rank 1 of 2' in found for (found,) in lines) == 1
    assert [process.returncode for process in both] == [2, 2]
