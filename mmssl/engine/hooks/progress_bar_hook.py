"""Progress bar hook: the steps of a training epoch as a bar, on a terminal only."""

import logging
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from rich.console import Console

from ...core.progress import LoopProgress

if TYPE_CHECKING:
    from ..runner import Runner


class _AboveBar:
    """Stream that writes lines above a bar; rich's own would break long ones, and paths in them."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def write(self, text: str) -> None:
        self.console.print(text, end='', markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        self.console.file.flush()


class ProgressBarHook(Hook):
    """Show the steps of each training epoch as a bar below the log lines.

    The runner registers it where standard output is a terminal, and calls `close` when training
    ends, also by an error.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.progress: LoopProgress | None = None
        self.streams: dict[logging.StreamHandler[Any], Any] = {}

    def before_train_epoch(self, runner: 'Runner') -> None:
        """Open the bar; the screen's log lines go above it."""
        total = len(runner.train_dataloader)
        what = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
        self.progress = LoopProgress(what, total, runner.iter % total)
        self.progress.__enter__()
        if self.progress.bar is None:
            return
        above = _AboveBar(self.progress.bar.console)
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                self.streams[handler] = handler.setStream(above)

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the bar."""
        if self.progress is not None:
            self.progress.advance()

    def after_train_epoch(self, runner: 'Runner') -> None:
        """Close the bar: evaluations have their own."""
        self.close()

    def close(self) -> None:
        """Close the bar, and give the log lines their stream back."""
        if self.progress is not None:
            self.progress.__exit__(None, None, None)
            self.progress = None
        for handler, stream in self.streams.items():
            handler.setStream(stream)
        self.streams = {}
