"""Break runs on purpose and compare with unbroken ones, bit by bit.

kills    SIGKILL at random moments, for every method: all losses, the final state, every validation
         and the best file are equal
exits    two processes train and end: exit status 0, every time
nan      images of rank 1 become nan: both ranks stop with the same report
full     a small file system fills up: every file on it is whole, and the run continues
elastic  two torchrun machines on this one; one is killed, and joins again

Runs are forked from this process, so none pays for imports. Needs Linux, about a minute for
every ten kills on two cores; 'full' needs the right to mount, or --small, a folder with few MB.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ['OMP_NUM_THREADS'] = '1'  # a forked process cannot use threads begun before

from faults.breaker import Breaker, Stream, stream
from faults.elastic import elastic
from faults.forked import (
    BATCH,
    EPOCHS,
    IMAGES,
    PARENT,
    config,
    make_data,
    run,
    same_file,
    validations,
    wait,
)

from mmssl.cli.options import run_tool
from mmssl.core import UserError
from mmssl.engine.state import work_dir_files

LAST = f'epoch_{EPOCHS}.pth'
METHODS = ('mocov2', 'mocov3', 'moby', 'swav', 'esvit', 'sere', 'ibot')


def kill_after(child: int, after: float, alone: bool) -> int | None:
    """Return the exit status of a child, or None where it was killed before it ended."""
    time.sleep(after)
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        return os.waitstatus_to_exitcode(status)
    # the process alone (its workers notice), or all of them as in a power cut
    (os.kill if alone else os.killpg)(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def differences(whole: Path, work: Path) -> int:
    """Count losses, validations and files of a killed run that are not those of the whole one."""
    expected, seen = dict(stream(whole / 'losses')), stream(work / 'losses')
    wrong = sum(expected[at] != loss for at, loss in seen)
    wrong += set(expected) != {at for at, _ in seen}
    wrong += validations(whole) != validations(work)
    return wrong + sum(not same_file(whole, work, name) for name in (LAST, 'best.pth'))


def kill_often(cfg: Any, folder: Path, kills: int, rng: random.Random) -> tuple[int, int]:
    """Kill and continue runs of a config; return how many ended, and their differences."""
    whole, begin = folder / 'whole', time.monotonic()
    assert wait(run(cfg, whole, [Stream(whole / 'losses')])) == 0, whole
    length = time.monotonic() - begin
    killed = ended = wrong = 0
    while killed < kills:
        work = folder / f'cut{ended}'
        child = run(cfg, work, [Stream(work / 'losses')])
        status = kill_after(child, rng.uniform(0, length), bool(killed % 2))
        killed += status is None
        if status is None and killed == kills:
            status = wait(run(cfg, work, [Stream(work / 'losses')]))
        if status is not None:
            assert status == 0, (work, status)
            ended += 1
            wrong += differences(whole, work)
    return ended, wrong


def kills(root: Path, data: Path, args: argparse.Namespace) -> str:
    """Kill, continue and compare until there were enough kills."""
    rng, each = random.Random(args.seed), -(-args.kills // len(args.methods))
    for method in args.methods:
        ended, wrong = kill_often(config(method, data, monitor=True), root / method, each, rng)
        told = f'{method} {each} kills in {ended} runs, {wrong} differences'
        print('  ' + told, flush=True)
        assert wrong == 0, told
    total = each * len(args.methods)
    return f'{total} kills, every loss, validation, final state and best file bit-equal'


def pair(cfg: Any, work: Path, hook: Callable[[], Any], port: int) -> tuple[list[int], float]:
    """Train on two processes; return exit statuses and seconds."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    begin = time.monotonic()
    children = [run(cfg, work, [hook()], rank, 2) for rank in (0, 1)]
    return [wait(child) for child in children], time.monotonic() - begin


def exits(root: Path, data: Path, args: argparse.Namespace) -> str:
    """Two processes end cleanly, many times."""
    counts: Counter[int] = Counter()
    options = {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 1, 'sync_bn': 'torch'}
    for i in range(args.exits):
        work = root / f'exit{i}'
        found, _ = pair(
            config('mocov3', data, **options),
            work,
            lambda work=work: Stream(work / 'losses'),
            args.port + i,
        )
        counts.update(found)
        assert found == [0, 0], (work, found)
        shutil.rmtree(work)
    return f'{args.exits} runs of two processes: exit statuses {dict(counts)}'


def nan(root: Path, data: Path, args: argparse.Namespace) -> str:
    """A rank's nan stops both, soon and with the same words."""
    work = root / 'nan'
    cfg = config('mocov3', data, **{'train_dataloader.batch_size': 2})
    statuses, seconds = pair(cfg, work, lambda: Breaker('nan', 5, 1), args.port + 90)
    words = [(work / f'out.{rank}').read_text().splitlines()[-1] for rank in (0, 1)]
    assert statuses == [2, 2], (statuses, words)
    assert words[0] == words[1], words
    report = json.loads((work / 'non_finite_iter_5.json').read_text())
    named = sum(len(r['files']) for r in report['ranks'])
    assert seconds < 30, seconds
    return f'both ranks stopped {seconds:.1f} s after their start, {named} files named: {words[0]}'


def full(root: Path, data: Path, args: argparse.Namespace) -> str:
    """A file system fills up while files are written."""
    small = args.small or root / 'small'
    small.mkdir(exist_ok=True)
    if not args.small:
        command = ['mount', '-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', str(small)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return 'left out: no right to mount; pass --small, a folder with few MB'
    try:
        options = {'train_cfg.max_epochs': 40, 'default_hooks.checkpoint.max_keep_ckpts': -1}
        cfg, work = config('mocov3', data, **options), small / 'work'
        status = wait(run(cfg, work))
        words = [x for x in (work / 'out.0').read_text().splitlines() if x.startswith('error:')]
        found = sorted(work.glob('*.pth'), key=lambda p: p.stat().st_mtime)
        reached = [work_dir_files.open_training(p)['progress']['iter'] for p in found][-1]
        assert status == 2, status
        assert len(words) == 1, words
        assert not list(work.glob('.*.pth.*'))
        for file in found[:-1]:
            file.unlink()
        cfg.train_cfg.max_epochs = reached // (IMAGES // BATCH) + 1
        assert wait(run(cfg, work)) == 0
        text = (work / 'out.0').read_text()
        assert f'resumed {found[-1]}' in text
    finally:
        if not args.small and os.getpid() == PARENT:
            subprocess.run(['umount', str(small)], check=False)
    return f'{len(found)} files, all whole, continued from iteration {reached}; it said: {words[0]}'


def rejoin(root: Path, data: Path, args: argparse.Namespace) -> str:
    """A killed machine joins again."""
    return elastic(root, data, args.port + 91)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the parts and print what was counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('parts', nargs='*', default=list(RUN), metavar='PART', help='default: all')
    parser.add_argument('--kills', type=int, default=56, help='over all methods')
    parser.add_argument('--exits', type=int, default=25)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS)
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--port', type=int, default=29600, help='and the hundred above it')
    parser.add_argument('--small', type=Path, help='a small file system for part full')
    args = parser.parse_args(argv)
    for part in args.parts:
        if part not in RUN:
            raise UserError(f"part '{part}' is unknown; use some of {', '.join(RUN)}", 'part', part)
    root = Path(tempfile.mkdtemp(prefix='mmssl-faults-'))
    try:
        make_data(root / 'data')
        for part in args.parts:
            begin = time.monotonic()
            told = RUN[part](root, root / 'data', args)
            print(f'{part}: {told} ({time.monotonic() - begin:.0f} s)', flush=True)
    finally:
        if os.getpid() == PARENT:
            shutil.rmtree(root)


RUN = dict(kills=kills, exits=exits, nan=nan, full=full, elastic=rejoin)

if __name__ == '__main__':
    run_tool(main)
