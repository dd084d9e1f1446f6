"""Objects whose unpickling calls a function."""

from collections.abc import Callable
from typing import Any


class Payload:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call
