"""The one exception a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message names the file, key or value and says what to do.

    ``key`` is what is wrong, as a user writes it: a config key ('model.head.temperature'), an
    option ('--out'), an argument ('branch'), a tensor's name, or 'file' and 'folder'. ``value`` is
    what was given for it (the path of a file, None when it is missing). Programs read these two;
    the wording of a message may change. The command-line tools print the message as one line and
    exit with status 2.
    """

    def __init__(self, message: str, key: str = '', value: object = None) -> None:
        # the message alone in `args`: torch's loaders build the error of a worker again from it
        super().__init__(message)
        self.key = key
        self.value = value


def escaped(text: str) -> str:
    r"""Return text that every file and terminal takes: on one line, in UTF-8.

    Control characters and the bytes of names that are not UTF-8 are written as ``\n``, ``\xff``.
    """
    return ''.join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python keeps a byte that is not UTF-8
    return f'\\x{byte:02x}' if 0x80 <= byte <= 0xFF else repr(character)[1:-1]


class NoData(UserError):
    """A folder of images or its labels are not there; a monitor may turn itself off for it."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean a or b?)', or nothing when no known name is near."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f' (did you mean {" or ".join(near)}?)' if near else ''


def at_least(key: str, value: int, smallest: int = 1) -> int:
    """Return a whole number that is not below ``smallest``; UserError about ``key`` for another."""
    if type(value) is not int or value < smallest:
        raise UserError(
            f'{key}={value!r}: give a whole number of at least {smallest}', key=key, value=value
        )
    return value
