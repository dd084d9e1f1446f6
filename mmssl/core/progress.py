"""How far a long loop is: a bar on a terminal, elsewhere a line a minute."""

import sys
import time
from types import TracebackType

from mmengine.logging import print_log
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import dist

SILENCE = 60.0  # seconds that a loop may be silent


class LoopProgress:
    """Progress of the loop in its block, whose ``total`` steps call `advance`.

    The first process shows it: as a bar where standard output is a terminal, which is removed at
    the end, else as a line of the log after `SILENCE` seconds without one.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what = what
        self.total = total
        self.done = done
        self.silent = dist.rank() != 0
        self.last = time.monotonic()
        self.bar: Progress | None = None

    def __enter__(self) -> 'LoopProgress':
        if not self.silent and sys.stdout.isatty():
            columns = (
                TextColumn('{task.description}'),
                *(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
            )
            self.bar = Progress(*columns, console=Console(), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total, completed=self.done)
        return self

    def advance(self) -> None:
        """Count one step that is done."""
        self.done += 1
        if self.bar is not None:
            self.bar.advance(self.task)
        elif not self.silent and time.monotonic() - self.last >= SILENCE:
            self.last = time.monotonic()
            print_log(f'{self.what}: {self.done} of {self.total}', logger='current')

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
