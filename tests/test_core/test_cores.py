"""Cores that a process comes to, however its launcher binds it."""

import os
from types import SimpleNamespace

import pytest

from mmssl.core import cores

ALL, SOCKETS = range(64), (range(32), range(32, 64))
# how it was started; of each process of the first machine the cores it may use, and its share
STARTS = {
    'one process': [(range(16), 16)],
    'torchrun, 8 processes on 16 cores': [(range(16), 2)] * 8,
    'torchrun, 3 processes on 16 cores': [(range(16), 5)] * 3,
    'more processes than cores': [(range(2), 1)] * 8,
    'srun --cpus-per-task=5, bound': [(range(5 * i, 5 * i + 5), 5) for i in range(8)],
    'srun --cpus-per-task=5, not bound': [(range(40), 5)] * 8,
    'mpirun --bind-to core': [([i], 1) for i in range(2)],
    'mpirun, bound to sockets': [(SOCKETS[i // 4], 8) for i in range(8)],
    'mpirun, unevenly bound to sockets': [(SOCKETS[0], 10)] * 3 + [(SOCKETS[1], 32)],
    'torchrun --numa-binding': [(SOCKETS[i % 2], 16) for i in range(4)],
    'one bound, one free': [(range(32), 16), (ALL, 48)],
}


@pytest.fixture
def told(monkeypatch):
    """Return a setter of this process's cores and of what all processes tell; none is known yet."""
    monkeypatch.setattr(cores, '_share', None)

    def tell(own, everybodys):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(own), raising=False)
        monkeypatch.setattr(cores.socket, 'gethostname', lambda: 'here')
        gathered = [(host, tuple(numbers)) for host, numbers in everybodys]
        monkeypatch.setattr(cores, 'dist', SimpleNamespace(gather_objects=lambda _: gathered))

    return tell


@pytest.mark.parametrize('name', STARTS)
@pytest.mark.parametrize('machines', [1, 2])
def test_a_launchers_binding_decides(told, name, machines):
    others = [('there', range(128))] * 4 * (machines - 1)  # another machine changes nothing
    everybodys = [('here', numbers) for numbers, _ in STARTS[name]] + others
    for numbers, share in STARTS[name]:
        told(numbers, everybodys)
        cores.share_cores()
        assert cores.own_cores() == share


def test_a_process_that_has_asked_nobody_is_alone(told):
    told(range(6), [])
    assert cores.own_cores() == 6


def test_systems_that_know_no_affinity(told, monkeypatch):
    told(range(6), [])
    monkeypatch.delattr(os, 'sched_getaffinity')
    monkeypatch.setattr(os, 'cpu_count', lambda: 12)
    assert cores.usable() == ('here', tuple(range(12)))


def _share_of_two() -> tuple[int, int]:
    cores.share_cores()
    return len(cores.usable()[1]), cores.own_cores()


def test_two_processes_halve_what_they_share(two_ranks):
    for usable, own in two_ranks(_share_of_two):
        assert own == max(1, usable // 2)
