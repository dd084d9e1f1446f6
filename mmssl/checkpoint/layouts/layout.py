"""Layouts of checkpoint files: tables between the names in a file and our names.

A name in the file is called foreign. Our own names: ``student.backbone.net.*``,
``student.neck.<name>.*``, ``teacher.*`` alike and ``head.*``; of a file with one network
``backbone.net.*`` and, of classifiers, ``head.fc.*``.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...core import UserError
from .name_template import NamePair
from .tensor_ops import OPS

State = dict[str, Tensor]  # tensors by name
# the arguments of a NamePair, before a branch or a prefix is put in front of its names
NameLine = tuple[str, str | None] | tuple[str, str | None, str, str]
NameLines = tuple[NameLine, ...]
BUFFER = re.compile(
    r'(running_mean|running_var|num_batches_tracked|queue\d?|queue_ptr'
    r'|relative_position_index|attn_mask)$'
)


_WRAPPED = re.compile(r'^(student\.|teacher\.|)module\.')
COMPILED = '_orig_mod.'  # torch.compile puts it in front of what it has compiled
# where files keep the tensors of one network
ROOTS = ('state_dict', 'model', '')
WRAPPERS = r'(module\.|backbone\.)+'
# names of torchvision, timm and the official ViTs, which our ``net`` keeps
UNCHANGED: NameLines = (('{rest}', 'backbone.net.{rest}'),)
# what our names of a ResNet match, for rows that only ResNets have
RESNET = r'net\.layer1\.0\.conv1\.'


@dataclass(frozen=True)
class Layout:
    """One layout: where a file's tensors are, how to recognise it, and its table of names.

    Of the table ``pairs`` the first row that matches counts. ``roots`` are top-level entries to
    look in ('' is the file itself), the first that fits; ``sections`` are entries that belong
    together, their names put in front of the keys. ``sign`` and ``also`` are patterns that some key
    must match and ``unless`` one that none may, wrappers' ``module.`` and ``prefix`` removed; a
    file that also fits the layout ``special_of`` is of this one. ``prepare`` changes the tensors
    before the table is applied: it picks one of several networks, or renames. ``merge`` makes one
    tensor of several that we have as one, given the names of the model that is filled, and
    ``split`` undoes it when a file is written. ``export`` is the branch meant for downstream use.
    ``order`` lists, per optimizer group, the keys whose optimizer state the file stores by
    position. ``epochs_ahead`` is added to the file's epoch to give the epochs that are done.
    """

    name: str
    sign: str
    pairs: tuple[NamePair, ...]
    roots: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    export: str = 'student'
    order: Callable[[State], list[list[str]]] | None = field(default=None, compare=False)
    unless: str = ''
    also: str = ''
    special_of: str = ''
    prefix: str = ''
    epochs_ahead: int = 0
    prepare: Callable[[dict[str, Any], State], State] | None = field(default=None, compare=False)
    merge: Callable[[State, Collection[str]], State] | None = field(default=None, compare=False)
    split: Callable[[State], State] | None = field(default=None, compare=False)

    def strip_prefixes(self, key: str) -> str:
        """Remove what wrappers and the layout's ``prefix`` put in front of a name."""
        key = strip_wrappers(key)
        return re.sub(f'^({self.prefix})', '', key) if self.prefix else key

    def find(self, content: dict[str, Any]) -> State | None:
        """Return the file's tensors (any shapes) by foreign name, None for another layout."""
        for entry in self._entries(content):
            state = {k: v for k, v in entry.items() if isinstance(k, str) and isinstance(v, Tensor)}
            if self._recognises(state):
                return self.prepare(content, state) if self.prepare else state
        return None

    def _entries(self, content: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the dicts that may hold the tensors; sections become one."""
        entries = [_entry(content, root) for root in self.roots]
        if self.sections and isinstance(content.get(self.sections[0]), dict):
            joined: dict[str, Any] = {}
            for section in self.sections:
                part = content.get(section)
                if isinstance(part, dict):
                    joined |= {f'{section}.{key}': value for key, value in part.items()}
            entries.append(joined)
        return [entry for entry in entries if isinstance(entry, dict)]

    def _recognises(self, state: State) -> bool:
        """Whether names match ``sign`` and ``also``, and none matches ``unless``."""

        def some(pattern: str) -> bool:
            compiled = re.compile(pattern)
            return any(compiled.match(self.strip_prefixes(key)) for key in state)

        if not some(self.sign) or (self.also and not some(self.also)):
            return False
        return not (self.unless and some(self.unless))

    def find_pair(self, key: str, target: Iterable[str] = ()) -> tuple[NamePair | None, str | None]:
        """Return (row of the table, our name) for a foreign name; the name None drops it.

        The first row that matches, or the first whose name the ``target`` has. (None, None)
        when no row matches.
        """
        key = self.strip_prefixes(key)
        first: tuple[NamePair | None, str | None] = (None, None)
        for pair in self.pairs:
            if not pair.matches(key):
                continue
            name = pair.to_ours(key)
            if name is not None and name in target:
                return pair, name
            if first[0] is None:
                first = (pair, name)
            if name is None:  # dropped: rows below are for other names
                break
        return first

    def name_of(self, key: str, target: Iterable[str] = ()) -> str | None:
        """Translate one foreign name; None when it is dropped or unknown."""
        return self.find_pair(key, target)[1]

    def translate(self, state: State, target: Iterable[str] = ()) -> tuple[State, list[str]]:
        """Return (tensors by our names, foreign names that are dropped); shapes (*) stay.

        ``target`` are the names of the model that is filled. Without one, a layer that the file
        stores under two names is taken once, under the first. Raises UserError when a tensor's
        shape does not fit the operation of its row.
        """
        names = set(target)
        ours: State = {}
        dropped = []
        if self.merge:
            state = self.merge({self.strip_prefixes(k): v for k, v in state.items()}, names)
        for key, value in state.items():
            pair, name = self.find_pair(key, names)
            taken = not names and self._is_taken(key, value, ours)
            if pair is None or name is None or taken:
                dropped.append(key)
            else:
                ours[name] = _apply(pair, key, value)
        return ours, dropped

    def _is_taken(self, key: str, value: Tensor, ours: State) -> bool:
        """Whether a tensor equals one that is taken already under any of its possible names."""
        key = self.strip_prefixes(key)
        for pair in self.pairs:
            name = pair.to_ours(key)
            if name is None or name not in ours or ours[name].shape != value.shape:
                continue
            if bool((ours[name] == value).all()):
                return True
        return False

    def restore(self, ours: State) -> State:
        """Return tensors by foreign names from those by ours, the inverse of `translate`.

        Shapes (*) stay. Tensors that have no place in the layout are left out.
        """
        state: State = {}
        pairs = [p for p in self.pairs if not p.where or any(re.search(p.where, k) for k in ours)]
        for key, value in ours.items():
            for pair in pairs:
                name = pair.to_foreign(key)
                if name:
                    state[name] = OPS[pair.op].to_foreign(value)
                if name is not None:
                    break
        return self.split(state) if self.split else state


def _entry(content: Any, root: str) -> Any:
    """Return what a root names, '' the content itself, 'a/b' what is deeper; None without it."""
    for name in filter(None, root.split('/')):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _apply(pair: NamePair, key: str, value: Tensor) -> Tensor:
    """Return the tensor after the operation of its row."""
    try:
        return OPS[pair.op].to_ours(value)
    except (RuntimeError, IndexError):
        raise UserError(
            f'{key}: shape {tuple(value.shape)} fits no {pair.op}; give the file as it was written',
            key=key,
            value=tuple(value.shape),
        ) from None


def strip_wrappers(key: str) -> str:
    """Remove what wrappers put into a name: ``module.`` in front, ``_orig_mod.`` anywhere."""
    key = key.replace(COMPILED, '')
    return _WRAPPED.sub(r'\1', key) if 'module.' in key else key


# tables -------------------------------------------------------------------------------------------
def branches(names: dict[str, str], *lines: NameLine) -> tuple[NamePair, ...]:
    """Repeat lines for each branch: ``names`` maps our branch to the foreign prefix."""
    return tuple(
        NamePair(prefix + foreign, None if ours is None else f'{branch}.{ours}', *more)
        for branch, prefix in names.items()
        for foreign, ours, *more in lines
    )


def one_network(*lines: NameLine) -> tuple[NamePair, ...]:
    """Make the rows of a file with one network, which has no branches."""
    return tuple(NamePair(*line) for line in lines)


def prefixed(prefix: str, lines: NameLines) -> NameLines:
    """Put a prefix in front of the foreign names."""
    return tuple((prefix + line[0], *line[1:]) for line in lines)


# orders of optimizer state ------------------------------------------------------------------------
def stored_order(state: State) -> list[list[str]]:
    """Return one group: parameters (any shapes) in the order of the file, without buffers."""
    return [[key for key in state if not BUFFER.search(key)]]


def split_order(
    trained: str, decayed: Callable[[str, Tensor], bool]
) -> Callable[[State], list[list[str]]]:
    """Return a function from a file's tensors (any shapes) to two groups of their names.

    They are the names that match ``trained``, with weight decay and without. ``decayed`` decides
    by name and tensor.
    """

    def order(state: State) -> list[list[str]]:
        groups: list[list[str]] = [[], []]
        for key, value in state.items():
            if re.match(trained, strip_wrappers(key)) and not BUFFER.search(key):
                groups[0 if decayed(key, value) else 1].append(key)
        return groups

    return order


def weights_only(key: str, value: Tensor) -> bool:
    """Whether MoBY, EsViT and iBOT apply weight decay to a tensor (*): to weights of layers."""
    return value.ndim > 1 and not key.endswith('.bias')


def weights_and_biases(key: str, value: Tensor) -> bool:
    """Whether SERE applies weight decay to a tensor (*): to weights and biases of layers."""
    return value.ndim > 1 or key.endswith('.bias')
