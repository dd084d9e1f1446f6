"""Notices about data: each is logged once in a process, with names escaped."""

import functools
import logging

from mmengine.logging import print_log

from ..core.errors import escaped

SHOWN = 3  # names in a notice


@functools.cache
def say_once(message: str, level: int = logging.INFO) -> None:
    """Log a message unless this process did so before: several data sets read one folder."""
    print_log(escaped(message), logger='current', level=level)


def some(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more
