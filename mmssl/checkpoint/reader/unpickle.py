"""Safe unpickler: builds tensors and plain data, and calls nothing else.

Whatever a stream names is looked up in short lists; any other name is refused. What a stream may
cost is bounded: steps, calls, and what calls copy.
"""

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .builders import (
    BUILDERS,
    DTYPES,
    INERT,
    STORAGES,
    Dtype,
    Inert,
    Kind,
    Refused,
    RefusedCall,
    key,
)

STEPS = 2_000_000  # of one pickle; a training file of ViT-L takes 60,000
CALL = 256  # what a call costs, in bytes, beside what it copies
SPARE = 1 << 24  # bytes that calls may copy beyond four times the stream
MAKERS = {id(maker) for maker in BUILDERS.values()}


class Counted(dict[int, Any]):
    """A dispatch table that counts the steps taken."""

    left = STEPS

    def __getitem__(self, code: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Refused(f'it takes more than {STEPS} steps to read')
        return super().__getitem__(code)


Base: Any = pickle._Unpickler  # type: ignore[attr-defined, unused-ignore]  # in Python, not C


class Unpickler(Base):
    """Python's own unpickler; calls, keys and states go through the allow lists.

    The one written in Python, because the other reserves memory for numbers that it reads.
    ``storage`` is asked for (dtype, key, count) and answers with a 1-D tensor.
    """

    def __init__(self, file: Any, length: int, storage: Callable[..., Tensor]) -> None:
        super().__init__(file, encoding='latin1')
        self.storage = storage
        self.budget = 4 * length + SPARE  # bytes that calls may still copy
        self.dispatch = Counted(DISPATCH)

    def find_class(self, module: str, name: str) -> Any:
        """Return the builder of a known name; raise Refused for any other."""
        # torch writes protocol 2, where builtins and some modules have the names of Python 2
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        if (module, name) in INERT:
            return Inert
        if module == 'torch' and name in DTYPES:
            return DTYPES[name]
        if module == 'torch' and name in STORAGES:
            return Kind((name, STORAGES[name]))
        raise RefusedCall(f'{module}.{name}')

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage (n) that a file refers to; raise ValueError for anything else."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != 'storage':
            raise ValueError('a reference to no storage')
        kind, name, count = pid[1], pid[2], pid[4]
        if not isinstance(kind, Kind) or type(count) is not int or count < 0:
            raise ValueError('a storage with a senseless size')
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError('views of storages, as torch wrote before version 0.4')
        return self.storage(kind[1], str(name), count)

    def call(self, function: Any, args: Any) -> Any:
        """Call a builder, after its cost is taken from the budget; raise Refused for others."""
        if not isinstance(args, tuple):
            raise ValueError('arguments that are no tuple')
        self.budget -= CALL + sum(
            len(a) for a in args if isinstance(a, (str, bytes, list, tuple, dict))
        )
        if self.budget < 0:
            raise Refused('it would grow far beyond its own size')
        if function is not Inert and id(function) not in MAKERS:
            raise RefusedCall(f'a {type(function).__name__}')
        return function(*args)

    def load_reduce(self) -> None:
        """Call the function on the stack."""
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    def load_build(self) -> None:
        """Give a state to settings and numpy types; others have none that matters."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].__setstate__(state)
        elif isinstance(self.stack[-1], Dtype):
            self.stack[-1].order(state)

    def load_setitem(self) -> None:
        """Put one entry into a dict."""
        value, name = self.stack.pop(), self.stack.pop()
        self._entries()[key(name)] = value

    def load_setitems(self) -> None:
        """Put entries into a dict."""
        items = self.pop_mark()
        self._entries().update(zip(map(key, items[::2]), items[1::2], strict=True))

    def _entries(self) -> dict[str, Any]:
        if not isinstance(self.stack[-1], dict):
            raise ValueError('entries for something that is no dict')
        return self.stack[-1]

    def load_appends(self) -> None:
        """Put items into a list."""
        items = self.pop_mark()
        if not isinstance(self.stack[-1], list):
            raise ValueError('items for something that is no list')
        self.stack[-1].extend(items)

    def load_append(self) -> None:
        """Put one item into a list."""
        item = self.stack.pop()
        if not isinstance(self.stack[-1], list):
            raise ValueError('an item for something that is no list')
        self.stack[-1].append(item)

    def load_additems(self) -> None:
        """Put items into a set."""
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise ValueError('items for something that is no set')
        self.stack[-1].update(map(key, items))


def _table() -> dict[int, Any]:
    """Return Python's dispatch table with our steps in it, and without those nobody needs."""
    table = dict(Base.dispatch)
    ours = {
        pickle.REDUCE: Unpickler.load_reduce,
        pickle.NEWOBJ: Unpickler.load_reduce,
        pickle.BUILD: Unpickler.load_build,
        pickle.SETITEM: Unpickler.load_setitem,
        pickle.SETITEMS: Unpickler.load_setitems,
        pickle.APPEND: Unpickler.load_append,
        pickle.APPENDS: Unpickler.load_appends,
        pickle.ADDITEMS: Unpickler.load_additems,
    }
    table |= {code[0]: step for code, step in ours.items()}
    for code in (
        *(pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEWOBJ_EX),
        *(pickle.DICT, pickle.FROZENSET, pickle.BYTEARRAY8, pickle.NEXT_BUFFER),
        *(pickle.READONLY_BUFFER, pickle.PERSID),
    ):
        del table[code[0]]
    return table


DISPATCH = _table()
