"""What the authors' code says of each recipe, value by value: reading and comparing the rows.

``data/recipes/official.tsv.xz`` is a copied audit of official repositories, never made from our
configs; ``added.tsv`` are rows added since, each with the text that was read; ``different.tsv``
are the rows in which ours differ on purpose.
"""

import ast
import csv
import functools
import lzma
import math
from typing import Any, NamedTuple

from .paths import HERE

FOLDER = HERE / 'data' / 'recipes'


class Row(NamedTuple):
    """One value of one official recipe; ``config`` is ours, ``source`` where it was read."""

    recipe: str
    config: str
    key: str
    official: str
    source: str
    note: str


class Difference(NamedTuple):
    """A row in which ours differs: our value and the reason."""

    recipe: str
    key: str
    ours: str
    reason: str


def _table(text: str) -> list[list[str]]:
    head, *lines = csv.reader(text.splitlines(), delimiter='\t', quoting=csv.QUOTE_NONE)
    assert all(len(line) == len(head) for line in lines)
    return lines


@functools.cache
def rows(*files: str) -> list[Row]:
    """Return the rows of tables, of all when none is named."""
    found = []
    for name in files or ('official.tsv.xz', 'added.tsv'):
        content = (FOLDER / name).read_bytes()
        text = (lzma.decompress(content) if name.endswith('.xz') else content).decode()
        found += [Row(*line) for line in _table(text)]
    return found


@functools.cache
def differences() -> dict[tuple[str, str], Difference]:
    """Return the rows that differ on purpose, by recipe and key."""
    found = [Difference(*line) for line in _table((FOLDER / 'different.tsv').read_text())]
    assert len({d[:2] for d in found}) == len(found)
    return {d[:2]: d for d in found}


def parse(text: str) -> Any:
    """Return the value of a cell: Python's literals, tuples of bare words, or the text itself."""
    text = text.strip()
    if text.startswith('(') and text.endswith(')') and _closes(text) == len(text) - 1:
        return tuple(parse(part) for part in _split(text[1:-1]))
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _closes(text: str) -> int:
    """Return where the bracket that begins a text is closed."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in '([{') - (sign in ')]}')
        if depth == 0:
            return at
    return -1


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts = ['']
    depth = 0
    quoted = False
    for sign in text:
        quoted ^= sign == "'"
        depth += (sign in '([{') - (sign in ')]}')
        if sign == ',' and depth == 0 and not quoted:
            parts.append('')
        else:
            parts[-1] += sign
    return [part for part in parts if part.strip()]


def same(official: Any, ours: Any) -> bool:
    """Whether two values are equal: numbers to the nine digits that the table has."""
    if isinstance(official, bool) or isinstance(ours, bool):
        return official is ours
    if isinstance(official, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(official, ours, rel_tol=1e-9, abs_tol=1e-18)
    if isinstance(official, (list, tuple)) and isinstance(ours, (list, tuple)):
        return len(official) == len(ours) and all(map(same, official, ours))
    if isinstance(official, dict) and isinstance(ours, dict):
        return official.keys() == ours.keys() and all(same(v, ours[k]) for k, v in official.items())
    if isinstance(official, str) and isinstance(ours, str):
        return official.lower() == ours.lower()
    return official is None and ours is None


def judge(row: Row, official: Any, ours: Any) -> str:
    """Return 'equal', 'different on purpose' or 'wrong' of a row and our value.

    A row that differs on purpose has our value in `differences`; it is wrong once ours is the
    official one or another.
    """
    known = differences().get((row.recipe, row.key))
    if known is None:
        return 'equal' if same(official, ours) else 'wrong'
    stands = same(parse(known.ours), ours) and not same(official, ours)
    return 'different on purpose' if stands else 'wrong'
