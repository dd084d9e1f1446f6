"""Two torchrun machines on this one, of which one is killed and comes back."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmssl.cli.subprocess_tools import REPO
from mmssl.engine.state import work_dir_files

from .forked import BATCH, recipe


def elastic(root: Path, data: Path, port: int) -> str:
    """Kill one of two machines, let it join again, and say how long each took."""
    work = root / 'elastic'
    work.mkdir()
    (work / 'config.py').write_text(
        f"_base_ = '{recipe('mocov3')}'\ndata_root = '{data}'\nsync_bn = 'torch'\n"
        f'train_dataloader = dict(batch_size={BATCH}, num_workers=1)\n'
        'train_cfg = dict(max_epochs=100000, val_interval=10**9, val_at_start=False)\n'
        'default_hooks = dict(checkpoint=dict(iterations=5, interval=10**9))\n'
    )
    machines = [_machine(work, port)]
    try:
        _until(lambda: _listens(port), 120)  # who comes first keeps the list, and must stay
        machines.append(_machine(work, port))
        _until(lambda: bool(list((work / 'run').glob('iter_*.pth'))), 400)
        _power_off(machines[1])
        alone = _until(lambda: _saved_after(work, '1 processes instead of 2'), 400)
        machines.append(_machine(work, port))
        again = _until(lambda: _saved_after(work, '2 processes instead of 1'), 400)
    finally:
        for machine in machines:
            _power_off(machine)
    last = work_dir_files.newest(work / 'run', None)
    return (
        f'started with 2, went on alone after {alone:.0f} s, joined again after {again:.0f} s; '
        f'{last.name if last else "no file"} is whole'
    )


def _machine(work: Path, port: int) -> subprocess.Popen:
    """Start torchrun with one process; its words go to work/machines."""
    script, config = REPO / 'tools/dist_train.sh', work / 'config.py'
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'  # for its `python`
    place = dict(NNODES='1:2', MASTER_ADDR='127.0.0.1', PORT=str(port), PATH=path)
    with open(work / 'machines', 'a') as out:
        return subprocess.Popen(
            [script, config, '1', '--resume', '--work-dir', work / 'run'],
            stdout=out,
            stderr=out,
            env=os.environ | place,
            start_new_session=True,
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


def _power_off(machine: subprocess.Popen) -> None:
    """Kill a machine's torchrun and everything it has started, all at once."""
    parents = {}
    for at in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):  # ended meanwhile
            parents[int(at.parent.name)] = int(at.read_text().rpartition(')')[2].split()[1])
    family = {machine.pid} if machine.poll() is None else set()
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.wait()


def _saved_after(work: Path, words: str) -> bool:
    """Whether a file was saved after the words were said."""
    text = ''.join(p.read_text() for p in sorted(work.glob('run/*/*.log')))
    _, found, later = text.rpartition(words)
    return bool(found) and 'saved ' in later


def _until(true: Callable[[], bool], limit: float) -> float:
    """Wait until something is true, and return the seconds."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > limit:
            raise TimeoutError(f'not reached in {limit:.0f} s')
        time.sleep(0.5)
    return time.monotonic() - begin
