"""Source of CIFAR-10 and CIFAR-100: pickles of arrays, read without running code."""

import io
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import Names, Source, existing, read_file
from .lists import MAX_CLASSES


class Layout(NamedTuple):
    """Files of each split, the key of their labels, and file and key of the class names."""

    files: dict[str, list[str]]
    label_key: bytes
    meta_file: str
    names_key: bytes


LAYOUTS = {  # by the name of the folder
    'cifar-10-batches-py': Layout(
        files=dict(train=[f'data_batch_{i}' for i in range(1, 6)], test=['test_batch']),
        label_key=b'labels',
        meta_file='batches.meta',
        names_key=b'label_names',
    ),
    'cifar-100-python': Layout(
        files=dict(train=['train'], test=['test']),
        label_key=b'fine_labels',
        meta_file='meta',
        names_key=b'fine_label_names',
    ),
}
SIDE = 32
NUMPY = ('numpy', 'numpy.core.multiarray', 'numpy._core.multiarray')
FAILURES = (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError)


class _Dtype:
    """A dtype of a pickle, which is bytes or not; its state says nothing of those."""

    def __init__(self, name: object = '', *_: object) -> None:
        self.is_bytes = name in ('u1', b'u1', 'uint8')


class _Array:
    """An array of a pickle; ``values`` are those of its state."""

    values: np.ndarray | None = None

    def __init__(self, *_: object) -> None:
        """Take numpy's arguments, which mean an empty array."""

    def set_state(self, state: Any) -> None:
        """Set the values. Raises ValueError unless they are as many bytes as the shape says."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not dtype.is_bytes or not isinstance(content, bytes):
            raise ValueError('an array of no bytes')
        order: Any = 'F' if fortran else 'C'
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order=order)


BUILDERS: dict[str, Any] = dict(_reconstruct=_Array, ndarray=_Array, dtype=_Dtype)
Base: Any = pickle._Unpickler  # type: ignore[attr-defined, unused-ignore]


class _Unpickler(Base):
    """Builds arrays of bytes and plain data; refuses every other name a pickle may ask for.

    Derived from the unpickler in Python, because the other reserves memory for numbers that it
    reads.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding='bytes')
        self.dispatch = DISPATCH
        self.left = len(content)  # characters that calls may copy

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('_codecs', 'encode'):  # how Python 3 writes bytes for Python 2
            return self.encode
        if module not in NUMPY or name not in BUILDERS:
            raise pickle.UnpicklingError(f'asks for {module}.{name}')
        return BUILDERS[name]

    def encode(self, text: str, _: object = None) -> bytes:
        """Return the bytes that a text stands for. Raises ValueError for too many in all."""
        self.left -= len(text)
        if self.left < 0:
            raise ValueError('it grows beyond its own size')
        return str.encode(text, 'latin1')

    def load_reduce(self) -> None:
        """Call the builder on the stack."""
        args = self.stack.pop()
        builder = self.stack[-1]
        if builder not in (_Array, _Dtype, self.encode):
            raise ValueError('a call of what is no builder')
        self.stack[-1] = builder(*args)

    def load_build(self) -> None:
        """Give an array its values."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], _Array):
            self.stack[-1].set_state(state)

    def load_setitem(self) -> None:
        """Put one entry into a dict."""
        value = self.stack.pop()
        self._set(self.stack.pop(), value)

    def load_setitems(self) -> None:
        """Put entries into a dict."""
        items = self.pop_mark()
        for name, value in zip(items[::2], items[1::2], strict=True):
            self._set(name, value)

    def load_dict(self) -> None:
        """Make a dict of entries."""
        items = self.pop_mark()
        self.append({})
        for name, value in zip(items[::2], items[1::2], strict=True):
            self._set(name, value)

    def _set(self, name: Any, value: Any) -> None:
        # a tuple of a million tuples has a hash that overflows the stack of the process
        if type(name) not in (bytes, str):
            raise ValueError('a key that is no text')
        if not isinstance(self.stack[-1], dict):
            raise ValueError('an entry of what is no dict')
        self.stack[-1][name] = value


DISPATCH = {
    code[0]: Base.dispatch[code[0]]
    for code in (
        *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK),
        *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.INT, pickle.LONG, pickle.BININT),
        *(pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.STRING, pickle.BINSTRING),
        *(pickle.SHORT_BINSTRING, pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
        *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
        *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.LIST, pickle.EMPTY_DICT),
        *(pickle.GET, pickle.BINGET, pickle.LONG_BINGET, pickle.PUT, pickle.BINPUT),
        *(pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.GLOBAL, pickle.STACK_GLOBAL),
    )
} | {
    pickle.REDUCE[0]: _Unpickler.load_reduce,
    pickle.BUILD[0]: _Unpickler.load_build,
    pickle.DICT[0]: _Unpickler.load_dict,
    pickle.SETITEM[0]: _Unpickler.load_setitem,
    pickle.SETITEMS[0]: _Unpickler.load_setitems,
}


def read_pickle(path: Path) -> dict[bytes, Any]:
    """Return the dict in one of CIFAR's files.

    Raises NoData when there is no such file, UserError when it holds anything but arrays of bytes
    and plain data.
    """
    content = read_file(existing(path, 'file of CIFAR'))
    try:
        found = _Unpickler(content).load()
    except (pickle.UnpicklingError, *FAILURES) as error:
        cause = ' '.join(str(error).split()) or type(error).__name__
        raise _damaged(path, cause[:200]) from None
    if not isinstance(found, dict):
        raise _damaged(path, 'no dict in it')
    return {
        key: value.values if isinstance(value, _Array) else value for key, value in found.items()
    }


def _damaged(path: Path, cause: str) -> UserError:
    return UserError(
        f'{path}: not a file of CIFAR ({cause}); download it again', key='file', value=str(path)
    )


@DATASETS.register_module()
class CifarSource(Source):
    """CIFAR-10 and CIFAR-100 as their authors packed them, ``split`` 'train' or 'test'.

    ``data_root`` is the folder of the pickles or the one above it. Images keep the files' order
    and are returned as PPM. Raises NoData when there is no such folder, UserError when the split
    is unknown or a file is damaged.
    """

    def __init__(self, data_root: str = '', split: str = 'train', with_label: bool = True) -> None:
        self.folder, layout = self._find(Path(data_root))
        if split not in layout.files:
            raise UserError(
                f"dataset.split='{split}': CIFAR has 'train' and 'test'; use one of these",
                key='dataset.split',
                value=split,
            )
        files = layout.files[split]
        batches = [read_pickle(self.folder / file) for file in files]
        for file, batch in zip(files, batches, strict=True):
            self._check(self.folder / file, batch, layout.label_key)
        self.pixels = np.concatenate([batch[b'data'] for batch in batches])  # (N, 3072)
        self.keys = Names(self._keys(files, batches))
        if with_label:
            self.classes = self._names(self.folder / layout.meta_file, layout.names_key)
            self.labels = [int(label) for batch in batches for label in batch[layout.label_key]]
            self._check_labels(self.folder / layout.meta_file)

    @staticmethod
    def _keys(files: Sequence[str], batches: Sequence[dict[bytes, Any]]) -> Iterator[str]:
        """Yield a key for each image: its own file name, or where there is none file and number."""
        for file, batch in zip(files, batches, strict=True):
            names = batch.get(b'filenames')
            for i in range(len(batch[b'data'])):
                name = names[i] if isinstance(names, list) and i < len(names) else None
                if isinstance(name, bytes):
                    yield name.decode(errors='replace')
                else:
                    yield f'{file}/{i:05d}.png'

    @staticmethod
    def _find(root: Path) -> tuple[Path, Layout]:
        """Return folder and layout. Raises NoData where there is neither."""
        for name, layout in LAYOUTS.items():
            for folder in (root / name, root):
                if (folder / layout.meta_file).is_file():
                    return folder, layout
        raise NoData(
            f'{root}: holds none of {", ".join(LAYOUTS)}; correct data_root',
            key='folder',
            value=str(root),
        )

    @staticmethod
    def _check(path: Path, batch: dict[bytes, Any], label_key: bytes) -> None:
        """Check images and labels of a batch. Raises UserError where it has none."""
        data = batch.get(b'data')
        labels = batch.get(label_key)
        numbers = isinstance(labels, list) and all(
            type(label) is int and 0 <= label < MAX_CLASSES for label in labels
        )
        shape = (len(labels) if isinstance(labels, list) else 0, 3 * SIDE**2)
        pixels = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == shape
        if not numbers or not pixels:
            raise _damaged(path, 'no images with labels')

    def _check_labels(self, path: Path) -> None:
        """Check that each label has a name. Raises UserError where one has none."""
        if not all(label < len(self.classes) for label in self.labels):
            raise _damaged(path, f'{len(self.classes)} names for labels up to {max(self.labels)}')

    @staticmethod
    def _names(path: Path, key: bytes) -> tuple[str, ...]:
        """Return the class names. Raises UserError when the file has none."""
        names = read_pickle(path).get(key)
        if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
            raise _damaged(path, 'no class names')
        return tuple(name.decode(errors='replace') for name in names)

    def __len__(self) -> int:
        return len(self.pixels)

    def index(self) -> Iterator[Any]:
        """Yield the names in the files."""
        yield from self.keys.buffers()

    def key(self, i: int) -> str:
        """Return class and file name."""
        return f'{self.classes[self.labels[i]]}/{self.keys[i]}' if self.classes else self.keys[i]

    def name(self, i: int) -> str:
        """Return folder@name of the image."""
        return f'{self.folder}@{self.keys[i]}'

    def read(self, i: int) -> bytes:
        """Return the image as a PPM file."""
        image = self.pixels[i].reshape(3, SIDE, SIDE).transpose(1, 2, 0)  # (H, W, 3)
        return b'P6 %d %d 255\n' % (SIDE, SIDE) + image.tobytes()
