"""Base class of image sources (storages of images), and helpers that sources share."""

import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...core import UserError
from ...core.errors import NoData, escaped
from ..notices import say_once, some

MAX_BYTES = 256 * 2**20  # of an image file; 64 million pixels uncompressed take 192 MB
PLAIN = 'images'  # the one folder in which Tiny-ImageNet keeps the images of val and test
LFS_POINTER = b'version https://git-lfs.github.com/spec/'
LFS_ADVICE = 'a Git LFS pointer, the file itself is not here: run git lfs pull'
T = TypeVar('T')


class UnreadableImage(UserError):
    """An image that cannot be read; the message names it and the cause, on one line."""

    def __init__(self, message: str, key: str = '', value: object = None) -> None:
        super().__init__(escaped(message), key, value)


class BrokenStream(UserError):
    """A stream that cannot go on; the message says where it broke and why, on one line."""

    def __init__(self, message: str, key: str = 'stream', value: object = None) -> None:
        super().__init__(escaped(message), key, value)


class Source:
    """Base class of image sources: the images of one storage, numbered from 0.

    ``classes`` are names, ``labels`` one number per image, or empty where images have none.
    ``locality`` tells the sampler which order is fast to read: None any order, 'rank' every W-th
    image of W ranks, 'shard' runs of neighbours (``shards`` holds their lengths and ``ends`` the
    cumulative sums of these), 'stream' the one order of a `StreamedSource`. ``unlabelled`` says why
    images in class folders have no labels. ``repeat_factors`` (N,) is how often each image comes in
    an epoch of training, on average; None is once each.
    """

    classes: tuple[str, ...] = ()
    labels: Sequence[int] = ()
    unlabelled: str = ''
    locality: str | None = None
    shards: Sequence[int] = ()
    ends: Sequence[int] | NDArray[Any] = ()
    repeat_factors: NDArray[Any] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def key(self, i: int) -> str:
        """Return a name that is unique in the storage and the same in packed copies."""
        raise NotImplementedError

    def name(self, i: int) -> str:
        """Return the path or address by which a user finds image i."""
        raise NotImplementedError

    def read(self, i: int) -> bytes:
        """Return the bytes of image file i; any exception makes it an unreadable image."""
        raise NotImplementedError

    def index(self) -> Iterator[Any]:
        """Yield buffers that tell which images there are, in their order, without reading any."""
        for i in range(len(self)):
            yield os.fsencode(f'{self.key(i)}\n')

    def target(self, i: int) -> int | Tensor | None:
        """Return the label of image i: a number, a multi-hot (K,), a mask (H, W), or None."""
        return self.labels[i] if len(self.labels) else None


class StreamedSource(Source):
    """Base class of sources whose images come in an order of (seed, epoch), not by number.

    ``streams`` is into how many streams an epoch is dealt out: image i is that at position
    i // streams of stream i % streams.
    """

    locality = 'stream'
    streams: int = 1

    def set_order(self, seed: int, epoch: int) -> None:
        """Set the seed and the epoch, which decide the order."""
        raise NotImplementedError

    def state(self, i: int) -> str:
        """Return as text what a resumed run needs to find image i again, '' for nothing new."""
        raise NotImplementedError

    def resume(self, states: Iterable[str]) -> None:
        """Take what `state` has returned of streams. Raises ValueError for other text."""
        raise NotImplementedError

    def replacement(self, i: int, seed: str) -> int:
        """Return the image that takes the place of image i, which cannot be read."""
        raise NotImplementedError


class Names(Sequence[str]):
    """Sequence of strings kept in two arrays, which workers share; a list would be copied."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = [os.fsencode(name) for name in names]
        self.ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        self.text = np.frombuffer(b''.join(parts), np.uint8)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: Any) -> Any:
        """Return string i."""
        begin = self.ends[i - 1] if i else 0
        return os.fsdecode(self.text[begin : self.ends[i]].tobytes())

    def buffers(self) -> Iterator[NDArray[Any]]:
        """Yield the arrays that hold all strings."""
        yield self.ends
        yield self.text


class PerProcess(Generic[T]):
    """A value made once in each process, for what workers must not share, such as open files."""

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make
        self.made: dict[int, T] = {}

    def __call__(self) -> T:
        """Return the value of this process."""
        pid = os.getpid()
        if pid not in self.made:
            self.made = {pid: self.make()}
        return self.made[pid]

    def __getstate__(self) -> dict[str, Any]:
        return dict(make=self.make, made={})


class RandomFile:
    """A file that any process can read at any offset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = PerProcess(self._open)

    def _open(self) -> Any:
        return open(self.path, 'rb')

    def read(self, begin: int, size: int) -> bytes:
        """Return up to ``size`` bytes from offset ``begin``."""
        return os.pread(self.file().fileno(), size, begin)

    def line(self, begin: int) -> bytes:
        """Return the line that begins at offset ``begin``."""
        self.file().seek(begin)
        found: bytes = self.file().readline()
        return found


def class_labels(
    keys: Sequence[str], storage: object = ''
) -> tuple[tuple[str, ...], list[int], str]:
    """Return class names and labels of paths by their first folders, sorted.

    Both are empty when a path has no folder; the third value then names images that lie beside
    class folders, and ``storage`` is where a warning says that they are. A single folder
    ``images`` is no class, and a folder around several folders is none either: those are.
    """
    around = _around(keys)
    if around:
        say_once(f'{storage}: all images lie below {around}: the folders in it are the classes')
        keys = [key.removeprefix(around) for key in keys]
    folders = [key.partition('/')[0] if '/' in key else None for key in keys]
    names = sorted({folder for folder in folders if folder is not None})
    stray = [key for key, folder in zip(keys, folders, strict=True) if folder is None]
    flat = len(names) == 1 and 2 * len(stray) > len(keys)  # a flat folder with one deeper
    if stray and names and not flat:
        cause = f'beside the folders {some(names)} lie images without a class: {some(stray)}'
        say_once(f'{storage}: {cause}; no image has a label until they are moved', logging.WARNING)
        return (), [], cause
    if stray or names == [PLAIN]:
        return (), [], ''
    index = {name: i for i, name in enumerate(names)}
    return tuple(names), [index[folder] for folder in folders if folder is not None], ''


def _around(keys: Sequence[str]) -> str:
    """Return the folders that all paths share, if several folders and no images follow, else ''."""
    around = ''
    while True:
        rests = (key[len(around) :] for key in keys)
        names = {rest.partition('/')[0] if '/' in rest else None for rest in rests}
        if None in names or not names:
            return ''
        if len(names) > 1:
            return around
        around += f'{names.pop()}/'


def numbered(labels: Sequence[int]) -> tuple[str, ...]:
    """Return the class names '0', '1', ... up to the highest label."""
    return tuple(map(str, range(max(labels, default=-1) + 1)))


def existing(path: Path, what: str) -> Path:
    """Return the path of a file that must exist.

    Raises NoData when it does not, UserError when a pointer of Git LFS is in its place.
    """
    if not path.is_file():
        raise NoData(
            f'{path}: no such {what}; correct data_root, split or the source (docs/datasets.md)',
            key='file',
            value=str(path),
        )
    with path.open('rb') as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UserError(f'{path}: {LFS_ADVICE}', key='file', value=str(path))
    return path


def parsed(content: bytes | str) -> Any:
    """Return what a text in JSON holds. Raises ValueError where it is none."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError('lists in lists without end') from None


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises ValueError for pipes, sockets and devices, some of which would wait forever, and
    OSError as open does.
    """
    with open(path, 'rb', opener=lambda at, how: os.open(at, how | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError('not a regular file')
        return file.read()
