"""Findings of a check, part by part, in a JSON file that is renewed after every part."""

import json
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.io import atomic_write, to_plain

TAIL = 4000  # characters of a traceback that are kept
NO_TIME = 'not run: no time left'


class Parts:
    """Parts of a check that runs for ``seconds`` on ``device``.

    ``data`` is a folder of images of the user's, or None; ``folder`` is there to be written in.
    """

    def __init__(
        self, file: Path, seconds: float, device: str, folder: Path, data: Path | None = None
    ) -> None:
        self.file = file
        self.device = device
        self.folder = folder
        self.data = data
        self.ends = time.monotonic() + seconds
        self.found: list[dict[str, Any]] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    @contextmanager
    def part(self, name: str) -> Iterator[dict[str, Any]]:
        """Run a part, whose values go into the dict; an exception fails this part alone."""
        values: dict[str, Any] = {}
        began = time.monotonic()
        ok = False
        try:
            yield values
            ok = True
        except Exception as error:
            values['error'] = f'{type(error).__name__}: {error}'.strip()
            values['trace'] = traceback.format_exc()[-TAIL:]
            traceback.print_exc()
        self.add(name, ok, time.monotonic() - began, **values)

    def add(self, name: str, ok: bool | None, seconds: float = 0.0, **values: Any) -> None:
        """Note a part; ``ok`` None was not run."""
        self.found.append(dict(name=name, ok=ok, seconds=round(seconds, 2), **to_plain(values)))
        self.write()

    def write(self, done: bool = False) -> None:
        """Write what is known; ``done`` says that the check came to its end."""
        atomic_write(self.file, json.dumps(dict(done=done, parts=self.found), indent=1) + '\n')

    def each(self, names: Iterable[str]) -> Iterator[str]:
        """Yield names while there is time for one as long as the longest; note the others."""
        longest = 0.0
        for name in names:
            if self.left <= longest:
                self.add(name, None, note=NO_TIME)
                continue
            began = time.monotonic()
            yield name
            longest = max(longest, time.monotonic() - began)


def expect(condition: bool, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds; -O keeps it."""
    if not condition:
        raise AssertionError(message)


def near(found: float, expected: float, limit: float, what: str) -> float:
    """Return the relative difference. Raises AssertionError where it is above the limit."""
    error = abs(found - expected) / max(abs(expected), 1e-12)
    expect(error <= limit, f'{what}: {found:.6g} for {expected:.6g}, {error:.1e} off')
    return error
