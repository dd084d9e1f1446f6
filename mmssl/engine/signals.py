"""Stops by signal: SIGTERM and SIGUSR1 become a checkpoint and a clean exit."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Runner

ENDING = (signal.SIGTERM, signal.SIGUSR1)
GRACE = 30  # seconds for which a loader's process outlives the request


@contextmanager
def catch_signals(runner: 'Runner') -> Iterator[None]:
    """While training, note a signal in the step status; all ranks follow after a step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def note(number: int, _: Any) -> None:
        if os.getpid() == owner:  # forked processes inherit the handler, and mean nothing by it
            runner.step_status.signal_received = number

    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        with interruptible():
            yield
    finally:
        _restore(before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, which ends workers; before, a tool ends at once."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    try:
        yield
    finally:
        _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        with suppress(TypeError):  # a handler that was not set from Python
            signal.signal(number, handler)


def save_and_exit(runner: 'Runner', number: int, save: Callable[[str], None]) -> None:
    """Write a training file, ``iter_N.pth``, and leave with status 128 + the signal's number.

    After the last step of an epoch the monitor runs first: the next step leaves.
    """
    done = runner.iter + 1
    save(f'iter_{done}.pth')
    if done % len(runner.train_dataloader) == 0:
        return
    name = signal.Signals(number).name
    runner.logger.warning(f'{name}: state saved; continue with --resume')
    raise SystemExit(128 + number)


class WorkerSignals:
    """Let a loader's process live on for a while after SIGTERM, ignoring SIGUSR1.

    A scheduler signals every process of a job; the workers must still deliver while the trainer
    ends its step and saves.
    """

    def __init__(self, then: Any) -> None:
        self.then = then

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        if self.then is not None:
            self.then(worker)
