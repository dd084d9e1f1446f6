"""What every refusal of bad input must be: one line, with the key and the value at fault."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mmssl.core import UserError

OBJECTS = ('file', 'folder')  # of which a message must say which one


def check_refusal(error: UserError, key: str, value: object) -> None:
    """Check key and value of an error, and that its one line names one of them.

    Of a dotted key the last part is enough.
    """
    assert (error.key, error.value) == (key, value), error
    text = str(error)
    assert len(text.strip().splitlines()) == 1, text
    named = str(value) in text
    if key not in OBJECTS or value is None:
        named |= key.rpartition('.')[2] in text
    assert named, text


@contextmanager
def refuses(
    key: str, value: object = None, kind: type[UserError] = UserError
) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Check that the block raises a UserError about ``key``, for which ``value`` was given."""
    with pytest.raises(kind) as caught:
        yield caught
    check_refusal(caught.value, key, value)
