"""Two torchrun machines on this one, of which one is killed and comes back."""

import argparse
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runs import BATCH, REPO

from mmssl.engine.state import training_file


def elastic(root: Path, data: Path, args: argparse.Namespace) -> str:
    """One of two machines is killed and joins again."""
    work = root / 'elastic'
    work.mkdir()
    file = work / 'config.py'
    path = next((REPO / 'configs' / 'compare').glob('mocov3_vit-conv_*_shapes.py'))
    file.write_text(
        f"_base_ = '{path}'\ndata_root = '{data}'\nsync_bn = 'torch'\n"
        f'train_dataloader = dict(batch_size={BATCH}, num_workers=1)\n'
        'train_cfg = dict(max_epochs=100000, val_interval=10**9, val_at_start=False)\n'
        'default_hooks = dict(checkpoint=dict(iterations=5, interval=10**9))\n'
    )
    steps = (
        (2, 'steps of two machines'),
        (1, '1 processes instead of 2'),
        (2, '2 processes instead of 1'),
    )
    port = args.port + 91
    machines = {'a': _machine(file, work, 'a', port)}
    _until(lambda: _listens(port), 120)  # who comes first keeps the list, and must stay
    machines['b'] = _machine(file, work, 'b', port)
    seconds = []
    try:
        for count, words in steps:
            begin = time.monotonic()
            if count == 1:
                _power_off(machines['b'])
            elif seconds:
                machines['b'] = _machine(file, work, 'b', port)
            _until(lambda words=words: _reached(work, words), 400)
            seconds.append(time.monotonic() - begin)
            print(f'  {words}: after {seconds[-1]:.0f} s', flush=True)
    finally:
        for machine in machines.values():
            _power_off(machine)
    last = training_file.newest(work / 'run', None)
    return (
        f'started with 2, went on alone after {seconds[1]:.0f} s, joined again after '
        f'{seconds[2]:.0f} s; {last.name if last else "no file"} is whole'
    )


def _machine(file: Path, work: Path, name: str, port: int) -> subprocess.Popen:
    environment = dict(NNODES='1:2', MASTER_ADDR='127.0.0.1', PORT=str(port))
    with open(work / f'machine.{name}', 'a') as out:
        return subprocess.Popen(
            [REPO / 'tools/dist_train.sh', file, '1', '--resume', '--work-dir', work / 'run'],
            stdout=out,
            stderr=out,
            env=os.environ | environment,
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
    family = {machine.pid}
    while more := {p for p, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.wait()


def _reached(work: Path, words: str) -> bool:
    """Whether five more iterations were saved after the words were said."""
    text = ''.join(p.read_text() for p in sorted(work.glob('run/*/*.log')))
    found = text.rfind(words)
    if words.startswith('steps'):
        return bool(list((work / 'run').glob('iter_*.pth')))
    return found >= 0 and 'saved ' in text[found:]


def _until(true: Callable[[], bool], limit: float) -> None:
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > limit:
            raise TimeoutError(f'not reached in {limit:.0f} s')
        time.sleep(0.5)
