"""Notices about data: each is logged once in a process, with names escaped."""

import functools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log

from ..core.errors import escaped

SHOWN = 3  # names in a notice
KINDS = ('dark', 'pages')  # of what only the decoders of images see
SETTLE = 0.02  # seconds in which other workers may come across the same


@functools.cache
def say_once(message: str, level: int = logging.INFO) -> None:
    """Log a message unless this process did so before: several data sets read one folder."""
    print_log(escaped(message), logger='current', level=level)


@contextmanager
def unheard() -> Iterator[None]:
    """Log nothing in the block, and forget what was said: who reads the data after it says so."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        say_once.cache_clear()


def some(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


class Once:
    """What workers see in images: of each kind, one of all processes that share it says so."""

    def __init__(self) -> None:
        self.by = torch.zeros(len(KINDS), dtype=torch.int64).share_memory_()

    def say(self, kind: str, message: str) -> None:
        """Log a warning unless another process or an earlier call has."""
        place = KINDS.index(kind)
        if self.by[place]:
            return
        self.by[place] = os.getpid()
        time.sleep(SETTLE)
        if self.by[place] == os.getpid():
            say_once(message, logging.WARNING)


@functools.cache
def once() -> Once:
    """Return the one of this process; workers get it with the transform that holds it."""
    return Once()
