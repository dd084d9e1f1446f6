"""What a layout of checkpoint files is: a table between its names and ours.

Our own names: ``student.backbone.net.*``, ``student.neck.<name>.*``, ``teacher.*`` alike and
``head.*``; of a file with one network ``backbone.net.*`` and, of classifiers, ``head.fc.*``.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...core import UserError
from ..ops import OPS
from ..template import Pair

State = dict[str, Tensor]
Line = tuple[str, str | None] | tuple[str, str | None, str, str]
Lines = tuple[Line, ...]
BUFFER = re.compile(
    r'(running_mean|running_var|num_batches_tracked|queue\d?|queue_ptr'
    r'|relative_position_index|attn_mask)$'
)


@dataclass(frozen=True)
class Dialect:
    """One layout: where the tensors are, how to recognise it, and its table, first match wins.

    ``roots`` are top-level entries to look in ('' is the file itself), the first that fits;
    ``sections`` are entries that belong together, their names put in front of the keys.
    ``sign`` is a pattern some key must match and ``unless`` one that none may, wrappers'
    ``module.`` and ``prefix`` removed; ``export`` is the side meant for downstream use;
    ``order`` lists, per optimizer group, the keys whose optimizer state the file stores by
    position; ``choose`` picks the tensors of files that hold more than one network.
    """

    name: str
    sign: str
    pairs: tuple[Pair, ...]
    roots: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    export: str = 'student'
    order: Callable[[State], list[list[str]]] | None = field(default=None, compare=False)
    unless: str = ''
    prefix: str = ''
    choose: Callable[[dict[str, Any], State], State] | None = field(default=None, compare=False)

    def bare(self, key: str) -> str:
        """Remove what wrappers put in front of a name."""
        return re.sub(f'^({self.prefix})', '', bare(key)) if self.prefix else bare(key)

    def find(self, content: dict[str, Any]) -> State | None:
        """Return the file's tensors by foreign name, or None when it is another layout."""
        for entry in self._entries(content):
            state = {k: v for k, v in entry.items() if isinstance(k, str) and _is_tensor(v)}
            names = [self.bare(key) for key in state]
            if not any(re.match(self.sign, name) for name in names):
                continue
            if not (self.unless and any(re.match(self.unless, name) for name in names)):
                return self.choose(content, state) if self.choose else state
        return None

    def _entries(self, content: dict[str, Any]) -> list[dict]:
        entries = [content.get(root) if root else content for root in self.roots]
        if self.sections and isinstance(content.get(self.sections[0]), dict):
            parts = {s: content.get(s) for s in self.sections}
            entries.append(
                {
                    f'{section}.{key}': value
                    for section, part in parts.items()
                    if isinstance(part, dict)
                    for key, value in part.items()
                }
            )
        return [entry for entry in entries if isinstance(entry, dict)]

    def line(self, key: str, target: Iterable[str] = ()) -> tuple[Pair, str | None] | None:
        """Return the line for a foreign name, and our name; of several, the one the target has."""
        found = None
        for pair in self.pairs:
            if pair.matches(self.bare(key)):
                name = pair.to_ours(self.bare(key), target)
                if name is None or name in target:
                    return found if found and name is None else (pair, name)
                found = found or (pair, name)
        return found

    def name_of(self, key: str, target: Iterable[str] = ()) -> str | None:
        """Translate one foreign name, None when it is dropped."""
        found = self.line(key, target)
        return found and found[1]

    def translate(self, state: State, target: Iterable[str] = ()) -> tuple[State, list[str]]:
        """Return (tensors by our names, foreign names that are dropped)."""
        target = set(target)
        alone = not target
        target = target or _own_target(self, state)
        ours: State = {}
        dropped = []
        for key, value in state.items():
            pair, name = self.line(key, target) or (None, None)
            twins = (p.to_ours(self.bare(key), target) for p in self.pairs if alone)
            if pair is None or name is None or any(_same(ours.get(t), value) for t in twins if t):
                dropped.append(key)
            else:
                ours[name] = _operate(pair, key, value)
        return ours, dropped

    def restore(self, ours: State) -> State:
        """Translate back; tensors that have no place in the layout are left out."""
        state: State = {}
        pairs = [p for p in self.pairs if not p.where or any(re.search(p.where, k) for k in ours)]
        for key, value in ours.items():
            for pair in pairs:
                name = pair.to_foreign(key, ours)
                if name:
                    state[name] = OPS[pair.op].to_foreign(value)
                if name is not None:
                    break
        return state


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _operate(pair: Pair, key: str, value: Tensor) -> Tensor:
    try:
        return OPS[pair.op].to_ours(value)
    except (RuntimeError, IndexError):
        raise UserError(f'{key}: shape {tuple(value.shape)} fits no {pair.op}') from None


def _same(known: Tensor | None, value: Tensor) -> bool:
    """Whether a layer that is stored under two names has been met already."""
    return known is not None and known.shape == value.shape and bool((known == value).all())


def _own_target(dialect: Dialect, state: State) -> set[str]:
    """Return the names of a model the file's tensors would fill, to number its last layers."""
    names = {name for key in state if (name := dialect.name_of(key))}
    lasts = {p.ours.split('{last}')[0] for p in dialect.pairs if p.ours and '{last}' in p.ours}
    for head in lasts:
        hidden = [int(m[1]) for n in names if (m := re.match(re.escape(head) + r'(\d+)\.', n))]
        if max(hidden, default=0):  # a norm, then an activation, then the last layer
            names |= {f'{head}{max(hidden) + 2}.{rest}' for rest in ('weight', 'bias')}
    return names


def bare(key: str) -> str:
    """Remove the name that data-parallel wrappers put in front."""
    return re.sub(r'^(student\.|teacher\.|)module\.', r'\1', key)


def sides(names: dict[str, str], *lines: Line) -> tuple[Pair, ...]:
    """Repeat lines for each side: names maps our side to the foreign prefix."""
    return tuple(
        Pair(prefix + foreign, None if ours is None else f'{side}.{ours}', *more)
        for side, prefix in names.items()
        for foreign, ours, *more in lines
    )


def prefixed(prefix: str, lines: Lines) -> Lines:
    """Put a prefix in front of the foreign names."""
    return tuple((prefix + line[0], *line[1:]) for line in lines)


def single(*lines: Line) -> tuple[Pair, ...]:
    """Make pairs of the lines of a file with one network."""
    return tuple(Pair(*line) for line in lines)


# orders of optimizer state ------------------------------------------------------------------------
def stored_order(state: State) -> list[list[str]]:
    """One group: parameters in the order the file stores them, buffers left out."""
    return [[key for key in state if not BUFFER.search(key)]]


def split_order(
    trained: str, decayed: Callable[[str, Tensor], bool]
) -> Callable[[State], list[list[str]]]:
    """Two groups, decayed and not, of the keys that match ``trained``."""

    def order(state: State) -> list[list[str]]:
        groups: list[list[str]] = [[], []]
        for key, value in state.items():
            if re.match(trained, bare(key)) and not BUFFER.search(key):
                groups[0 if decayed(key, value) else 1].append(key)
        return groups

    return order


def weights_only(key: str, value: Tensor) -> bool:
    """Decay of MoBY, EsViT and iBOT."""
    return value.ndim > 1 and not key.endswith('.bias')


def weights_and_biases(key: str, value: Tensor) -> bool:
    """Decay of SERE."""
    return value.ndim > 1 or key.endswith('.bias')
