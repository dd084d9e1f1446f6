"""Logger hook: lines by iterations and by time, so that a slow run is never silent for long."""

import time
from typing import TYPE_CHECKING, Any

from mmengine.hooks import LoggerHook as Base

from ...core.errors import at_least
from ...core.progress import SILENCE
from ...registry import HOOKS

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class LoggerHook(Base):
    """mmengine's hook, which also logs the first iteration and after ``silence`` seconds.

    Every ``interval`` iterations there is a line as well; further arguments are mmengine's.
    Raises UserError for an interval below 1.
    """

    def __init__(self, interval: int = 50, silence: float = SILENCE, **kwargs: Any) -> None:
        super().__init__(at_least('default_hooks.logger.interval', interval), **kwargs)
        self.silence = silence
        self.last: float | None = None  # when the last line was, in seconds

    def before_train(self, runner: 'Runner') -> None:
        """Begin: the first iteration gets a line."""
        self.last = None

    def before_val_epoch(self, runner: 'Runner') -> None:
        """Begin an evaluation, whose first line comes by iterations or time."""
        self.last = time.monotonic()

    before_test_epoch = before_val_epoch

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        """Return whether a line is due: after ``n`` iterations, or because none was for long."""
        now = time.monotonic()
        silent = self.last is None or now - self.last >= self.silence
        due = bool(super().every_n_inner_iters(batch_idx, n)) or silent
        if due:
            self.last = now
        return due
