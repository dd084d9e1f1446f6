"""Source of CIFAR-10 and CIFAR-100: pickles of arrays, read without running code."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import Names, Source, existing


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
ARRAYS = {
    (module, name)
    for module in ('numpy', 'numpy.core.multiarray', 'numpy._core.multiarray')
    for name in ('_reconstruct', 'ndarray', 'dtype')
}


class _Arrays(pickle.Unpickler):
    """Builds arrays and plain data; refuses every other name a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('_codecs', 'encode'):  # how Python 3 writes bytes for Python 2
            return lambda text, _: str.encode(text, 'latin1')
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f'asks for {module}.{name}')
        if name == '_reconstruct':
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return np.ndarray if name == 'ndarray' else np.dtype


def read_pickle(path: Path) -> dict[bytes, Any]:
    """Return the dict in one of CIFAR's files.

    Raises NoData when there is no such file, UserError when it holds anything but arrays.
    """
    try:
        with existing(path, 'file of CIFAR').open('rb') as file:
            found = _Arrays(file, encoding='bytes').load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        cause = ' '.join(str(error).split())
        raise _damaged(path, cause) from None
    if not isinstance(found, dict):
        raise _damaged(path, 'no dict in it')
    return found


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
                    yield name.decode()
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
        numbers = isinstance(labels, list) and all(type(label) is int for label in labels)
        shape = (len(labels) if isinstance(labels, list) else 0, 3 * SIDE**2)
        pixels = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == shape
        if not numbers or not pixels:
            raise _damaged(path, 'no images with labels')

    def _check_labels(self, path: Path) -> None:
        """Check that each label has a name. Raises UserError where one has none."""
        if not all(0 <= label < len(self.classes) for label in self.labels):
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
