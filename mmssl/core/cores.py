"""Cores of this process: those it may run on, shared with the other processes of its machine.

A launcher binds each process to cores of its own (srun --cpus-per-task), to a socket or NUMA node
(Open MPI), or to none at all (torchrun). So the processes tell each other which cores they may use.
"""

import os
import socket
from collections.abc import Sequence
from fractions import Fraction

from . import dist

Cores = tuple[str, tuple[int, ...]]  # host, and the numbers of its cores

_share: int | None = None


def usable() -> Cores:
    """Return the cores on which this process may run."""
    # Linux alone has it
    ask = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count() or 1))
    return socket.gethostname(), tuple(sorted(ask(0)))


def fair_share(own: Cores, everybodys: Sequence[Cores]) -> int:
    """Return how many cores ``own`` comes to, at least 1, when each core is shared evenly.

    ``everybodys`` holds the cores of all processes, this one's among them.
    """
    host, numbers = own
    users = [set(others) for other, others in everybodys if other == host]
    parts = (Fraction(1, sum(number in others for others in users)) for number in numbers)
    return max(1, int(sum(parts)))


def share_cores() -> None:
    """Let all ranks tell which cores they may use; the result is `own_cores`."""
    global _share
    own = usable()
    _share = fair_share(own, dist.gather_objects(own))


def own_cores() -> int:
    """Return this process's number of cores; before `share_cores` as if it were alone."""
    return _share or len(usable()[1])
