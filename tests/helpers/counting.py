"""Cost of a function, counted: the same on every machine, unlike its time."""

import sys
from collections.abc import Callable
from typing import Any


def calls(function: Callable[[Any], Any], value: Any) -> int:
    """Calls that a function of one argument makes, of Python's and of built-in functions."""
    count = 0

    def tick(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        count += event in ('call', 'c_call')

    sys.setprofile(tick)
    try:
        function(value)
    finally:
        sys.setprofile(None)
    return count
