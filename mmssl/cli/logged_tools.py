"""Run tools at once with their output in files, and show how far they are."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..core import UserError
from .subprocess_tools import REPO, tool_environment

POLL = 0.5  # seconds between looks at the logs
TAIL = 4000  # bytes of a log that are looked at
# as the libraries write the time left, and as we do
ETA = re.compile(rb'(?:eta:|left) (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)')


class Job(NamedTuple):
    """Tools that run one after the other, (name below tools/, arguments), and their log."""

    what: str
    log: Path
    calls: Sequence[tuple[str, Sequence[str | Path]]]


class _Running:
    """A job that has been started: its process, and which of its calls that is."""

    def __init__(self, job: Job, threads: int) -> None:
        self.job = job
        self.environment = tool_environment(threads) | {'PYTHONUNBUFFERED': '1'}
        job.log.parent.mkdir(parents=True, exist_ok=True)
        self.file = job.log.open('wb')
        self.number = -1
        self.process: subprocess.Popen[Any] | None = None

    def proceed(self) -> bool:
        """Start the next call where the last one is done; return whether one is running.

        Raises UserError naming the log of a call that failed.
        """
        if self.process is not None:
            status = self.process.poll()
            if status is None:
                return True
            if status:
                raise UserError(
                    f'{self.job.what}: tools/{self.job.calls[self.number][0]}.py ended with status '
                    f'{status}; {self.job.log} says why',
                    key='file',
                    value=str(self.job.log),
                )
        self.number += 1
        if self.number == len(self.job.calls):
            self.file.close()
            return False
        tool, args = self.job.calls[self.number]
        words = [sys.executable, str(REPO / 'tools' / f'{tool}.py'), *map(str, args)]
        self.process = subprocess.Popen(
            words,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            env=self.environment,
            start_new_session=True,  # a group, which ends with what the tool has started
        )
        self.since = time.monotonic()
        return True

    def share(self) -> float:
        """Return how much of the job is done, in [0, 1], by the last time left in the log."""
        now = 0.0
        if self.number < len(self.job.calls):
            with self.job.log.open('rb') as log:
                log.seek(max(0, self.job.log.stat().st_size - TAIL))
                if found := ETA.findall(log.read()):
                    days, hours, minutes, seconds = (int(part or 0) for part in found[-1])
                    left = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
                    spent = time.monotonic() - self.since
                    now = spent / max(spent + left, POLL)
        return (self.number + now) / len(self.job.calls)

    def stop(self) -> None:
        """End what is running."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()
        self.file.close()


def run_logged(*jobs: Job) -> None:
    """Run jobs at once until all are done; each computes on half of the cores.

    The other half is another job's, or that of the processes that read images.
    A terminal shows a bar for each, other outputs a line when one begins and ends. Raises
    UserError when a tool fails; the others are ended then.
    """
    threads = max(1, (os.cpu_count() or 1) // 2)
    bars = sys.stdout.isatty()
    columns = (
        TextColumn('{task.description:<12}'),
        BarColumn(),
        TextColumn('{task.percentage:>3.0f}%'),
    )
    running = [_Running(job, threads) for job in jobs]
    with Progress(*columns, TimeElapsedColumn(), console=Console(), disable=not bars) as progress:
        tasks = [progress.add_task(job.what, total=1.0) for job in jobs]
        if not bars:
            for job in jobs:
                print(f'{job.what}: log in {job.log}', flush=True)
        # a killed demo ends its tools too, which are groups of their own
        before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            left = list(range(len(jobs)))
            while left:
                for i in list(left):
                    if not running[i].proceed():
                        left.remove(i)
                        progress.update(tasks[i], completed=1.0)
                        if not bars:
                            print(f'{jobs[i].what}: done', flush=True)
                    else:
                        progress.update(tasks[i], completed=running[i].share())
                time.sleep(POLL if left else 0)
        finally:
            for each in running:
                each.stop()
            signal.signal(signal.SIGTERM, before)
