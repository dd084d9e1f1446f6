"""The one exception a user is meant to read."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: the message names the file, key or value and says what to do.

    ``key`` is what is wrong, as a user writes it: a config key ('model.head.temperature'), an
    option ('--out'), an argument ('branch'), a tensor's name, or 'file' and 'folder'. ``value`` is
    what was given for it (the path of a file, None when it is missing). Programs read these two;
    the wording of a message may change. What a terminal would obey is escaped in it. The
    command-line tools print the message as one line and exit with status 2.
    """

    def __init__(self, message: str, key: str = '', value: object = None) -> None:
        # the message alone in `args`: torch's loaders build the error of a worker again from it
        # and of several lines, the frames of that worker
        super().__init__('\n'.join(map(escaped, message.split('\n'))))
        self.key = key
        self.value = value


class UserErrors(UserError):
    """Several pieces of bad input that were found together; ``errors`` has each of them.

    ``key`` joins their keys by commas, ``value`` is the list of their values.
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        self.errors = tuple(errors)
        numbered = (f'({i}) {error}' for i, error in enumerate(errors, 1))
        super().__init__(
            '; '.join(numbered), ', '.join(e.key for e in errors), [e.value for e in errors]
        )


class ErrorCollector:
    """Collects the errors of independent checks, so that a user meets all at once."""

    def __init__(self) -> None:
        self.errors: list[UserError] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the error of the block, and go on behind it."""
        try:
            yield
        except UserErrors as several:
            self.errors += several.errors
        except UserError as error:
            self.errors.append(error)

    def raise_errors(self) -> None:
        """Raise what was collected: UserError for one, UserErrors for several, nothing for none."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise UserErrors(self.errors)


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
    """Return a whole number. Raises UserError about ``key`` where it is below ``smallest``."""
    if type(value) is not int or value < smallest:
        raise UserError(
            f'{key}={value!r}: give a whole number of at least {smallest}', key=key, value=value
        )
    return value
