"""The one exception a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message names the file, key or value and says what to do.

    The command-line tools print it as one line and exit with status 2.
    """


class NoData(UserError):
    """A folder of images or its labels are not there; a monitor may turn itself off for it."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean a or b?)', or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f' (did you mean {" or ".join(near)}?)' if near else ''
