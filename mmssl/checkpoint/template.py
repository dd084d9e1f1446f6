"""Key templates: one pair of strings translates a parameter name in both directions.

``{i}``, ``{j}``, ``{k}`` stand for whole numbers, ``{i+1}`` and ``{i-1}`` for shifted ones,
``{rest}`` for the rest of the name. ``{last}`` is the largest index the target has there.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_FIELD = re.compile(r'\{(rest|last|[ijk])([+-]\d+)?\}')


@lru_cache(maxsize=4096)
def _pattern(template: str) -> re.Pattern[str]:
    out, at = '', 0
    for field in _FIELD.finditer(template):
        out += re.escape(template[at : field.start()])
        name = field[1]
        out += f'(?P<{name}>{".+" if name == "rest" else r"[0-9]+"})'
        at = field.end()
    return re.compile(out + re.escape(template[at:]) + r'\Z')


@lru_cache(maxsize=4096)
def _shifts(template: str) -> dict[str, int]:
    return {field[1]: int(field[2] or 0) for field in _FIELD.finditer(template)}


def _fill(template: str, values: dict[str, str], shifts: dict[str, int]) -> str:
    def field(match: re.Match[str]) -> str:
        name, shift = match[1], int(match[2] or 0)
        if name in ('rest', 'last'):
            return values[name]
        return str(int(values[name]) - shifts.get(name, 0) + shift)

    return _FIELD.sub(field, template)


def _last_index(template: str, target: Iterable[str]) -> str:
    head = template.split('{last}')[0]
    found = [int(m[1]) for key in target if (m := re.match(re.escape(head) + r'(\d+)\.', key))]
    return str(max(found, default=0))


class Pair(NamedTuple):
    """One line of a dialect: the foreign name and ours, and an operation on the tensor.

    ``ours`` None drops the tensor on the way in, ``foreign`` '' on the way out. ``where`` is a
    pattern: on the way out the line is for models that have a name like it.
    """

    foreign: str
    ours: str | None
    op: str = ''
    where: str = ''

    def to_ours(self, key: str, target: Iterable[str] = ()) -> str | None:
        """Translate a foreign name, or return None when this line does not speak of it."""
        match = _pattern(self.foreign).match(key)
        if match is None or self.ours is None:
            return None
        values = dict(match.groupdict())
        if '{last}' in self.ours:
            values['last'] = _last_index(self.ours, target)
        return _fill(self.ours, values, _shifts(self.foreign))

    def to_foreign(self, key: str, present: Iterable[str] = ()) -> str | None:
        """Translate our name, or return None when this line does not speak of it.

        ``present`` are all names of the model, among which ``{last}`` is looked for.
        """
        if self.ours is None or (match := _pattern(self.ours).match(key)) is None:
            return None
        values = match.groupdict()
        if 'last' in values and values['last'] != _last_index(self.ours, present):
            return None
        return _fill(self.foreign, values, _shifts(self.ours))

    def matches(self, key: str) -> bool:
        """Whether this line speaks of a foreign name."""
        return _pattern(self.foreign).match(key) is not None
