"""Templates of parameter names: two strings translate a name between two layouts, both ways.

``{i}``, ``{j}``, ``{k}`` stand for whole numbers, ``{i+1}`` and ``{i-1}`` for shifted ones,
``{rest}`` for the rest of the name.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_FIELD = re.compile(r'\{(rest|[ijk])([+-]\d+)?\}')


class NamePair(NamedTuple):
    """One row of a layout's table: the foreign name, our name, an operation on the tensor.

    ``ours`` None drops the tensor when a file is read, ``foreign`` '' when one is written.
    ``op`` is a key of `tensor_ops.OPS`. ``where`` is a pattern: when a file is written, the row
    is for models that have a name like it.
    """

    foreign: str
    ours: str | None
    op: str = ''
    where: str = ''

    def matches(self, foreign_name: str) -> bool:
        """Whether this row is about a foreign name."""
        return _pattern(self.foreign).match(foreign_name) is not None

    def to_ours(self, foreign_name: str) -> str | None:
        """Translate a foreign name; None when the row is about others, or drops it."""
        return None if self.ours is None else _translate(foreign_name, self.foreign, self.ours)

    def to_foreign(self, our_name: str) -> str | None:
        """Translate our name; None when the row is about others, '' when it is not written."""
        return None if self.ours is None else _translate(our_name, self.ours, self.foreign)


def _translate(name: str, source: str, target: str) -> str | None:
    """Read the fields of ``source`` from a name and write them into ``target``."""
    match = _pattern(source).match(name)
    if match is None:
        return None
    values = match.groupdict()
    shifts = _shifts(source)

    def write(field: re.Match[str]) -> str:
        key, shift = field[1], int(field[2] or 0)
        if key == 'rest':
            return values[key]
        return str(int(values[key]) - shifts[key] + shift)

    return _FIELD.sub(write, target)


@lru_cache(maxsize=4096)
def _pattern(template: str) -> re.Pattern[str]:
    """Return the regular expression of a template, a named group per field."""
    pattern = ''
    end = 0
    for field in _FIELD.finditer(template):
        pattern += re.escape(template[end : field.start()])
        pattern += '(?P<rest>.+)' if field[1] == 'rest' else f'(?P<{field[1]}>[0-9]+)'
        end = field.end()
    return re.compile(pattern + re.escape(template[end:]) + r'\Z')


@lru_cache(maxsize=4096)
def _shifts(template: str) -> dict[str, int]:
    """Return what is added to the number of each field: {'i': 1} of 'layers.{i+1}'."""
    return {field[1]: int(field[2] or 0) for field in _FIELD.finditer(template)}
