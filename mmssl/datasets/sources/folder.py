"""Sources of image files: class folders, one flat folder, and lists of files in any storage."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmengine.fileio as fileio

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import EXTENSIONS, Names, PerProcess, Source, class_labels, numbered
from .subset import chosen

NO_FOLDER = (
    'no such folder; pass your data by --cfg-options data_root=DIR (docs/datasets.md shows the '
    'layouts)'
)


def scan(folder: Path) -> list[str]:
    """Return the paths of the images below a folder, relative to it and sorted."""
    # unlike rglob, through linked folders too: subsets of ImageNet are often made of links
    found = (Path(at, name) for at, _, names in os.walk(folder, followlinks=True) for name in names)
    images = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    return [path.relative_to(folder).as_posix() for path in images]


@DATASETS.register_module()
class FolderSource(Source):
    """Images below ``data_root/split``: class folders, or without labels one flat folder.

    ``subset`` is a list of file names or relative paths to keep, one a line, such as SimCLR's
    ``1percent.txt``, its path below ``data_root`` or absolute; labels stay those of the whole
    folder. Raises NoData when there are no images or no such list, UserError when the list names
    files that the folder does not have.
    """

    def __init__(
        self, data_root: str = '', split: str = '', subset: str = '', with_label: bool = True
    ) -> None:
        self.folder = Path(data_root) / split
        if not self.folder.is_dir():
            raise NoData(f'{self.folder}: {NO_FOLDER}', key='folder', value=str(self.folder))
        keys = scan(self.folder)
        if not keys:
            looked = ', '.join(sorted(EXTENSIONS))
            raise NoData(
                f'{self.folder}: no images in it (looked for {looked}); correct data_root or split',
                key='folder',
                value=str(self.folder),
            )
        classes, labels = class_labels(keys)
        if subset:
            selected = chosen(Path(data_root) / subset, keys, self.folder)
            keys = [keys[i] for i in selected]
            labels = [labels[i] for i in selected] if labels else []
        self.keys = Names(keys)
        if with_label:
            self.classes = classes
            self.labels = labels

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, i: int) -> str:
        """Return the path below the split's folder."""
        return self.keys[i]

    def name(self, i: int) -> str:
        """Return the path."""
        return str(self.folder / self.keys[i])

    def read(self, i: int) -> bytes:
        """Return the file's bytes."""
        return Path(self.name(i)).read_bytes()


class LocalFiles:
    """Files on disk, by absolute paths or paths relative to a root."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.root / name)

    def get(self, name: str) -> bytes:
        """Return a file's bytes."""
        return (self.root / name).read_bytes()


class StoredFiles:
    """Files read through a file backend of mmengine, chosen by the prefix of the root.

    Prefixes are 'http://', 's3://' and those of registered backends; 'lmdb://FILE' is an LMDB of
    files.
    """

    def __init__(self, root: str, backend_args: dict | None = None) -> None:
        self.data_root = root
        prefix, _, place = root.partition('://')
        self.root = root.rstrip('/')
        self.uri = root
        self.args = dict(backend_args or {})
        self.base = f'{self.root}/'
        if prefix == 'lmdb':
            self.args.update(backend=prefix, db_path=place)
            self.uri = ''
            self.base = ''
        self.backend = PerProcess(self._open)

    def _open(self) -> Any:
        # LMDB opens a file once, for all its readers and, as it neither locks nor writes, their
        # forks; a connection is no two processes' to share
        once = self.args.get('backend') == 'lmdb'
        try:
            return fileio.get_file_backend(
                self.uri or None, backend_args=self.args or None, enable_singleton=once
            )
        except (ImportError, AssertionError, KeyError, ValueError) as error:
            cause = ' '.join(str(error).split())
            raise UserError(
                f'data_root={self.data_root}: {cause}', key='data_root', value=self.data_root
            ) from None

    def path(self, name: str) -> str:
        """Return the address of a file."""
        return f'{self.root}/{name}'

    def get(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises FileNotFoundError when the storage has no such file, UserError when the backend
        cannot be opened.
        """
        content = self.backend().get(self.base + name)
        if content is None:
            raise FileNotFoundError('the storage has no such key')
        return bytes(content)


def _lines(files: LocalFiles | StoredFiles, name: str) -> list[tuple[int, str]]:
    """Return number and text of the non-empty lines of a list."""
    try:
        text = files.get(name).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NoData(
            f'{files.path(name)}: no such list of images ({error}); correct dataset.ann_file',
            key='file',
            value=files.path(name),
        ) from None
    return [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


@DATASETS.register_module()
class ListSource(Source):
    """Files named by lists of ``path`` or ``path label``, paths relative to ``data_root/split``.

    ``ann_file`` names one list or several, below ``data_root``; by default ``meta/<split>.txt``
    or ``<split>.txt``. ``num_classes`` keeps labels below it (WebVision). A ``data_root`` with a
    prefix ('s3://', 'lmdb://') is read through mmengine's file backend, which gets
    ``backend_args``. Raises NoData when there is no folder, list or image, UserError when only
    some lines have a label.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        ann_file: str | Sequence[str] = '',
        num_classes: int | None = None,
        backend_args: dict | None = None,
        with_label: bool = True,
    ) -> None:
        remote = '://' in data_root
        self.files = StoredFiles(data_root, backend_args) if remote else LocalFiles(data_root)
        self.split = split
        if not remote and not (Path(data_root) / split).is_dir():
            folder = Path(data_root) / split
            raise NoData(f'{folder}: {NO_FOLDER}', key='folder', value=str(folder))
        lists = [ann_file] if isinstance(ann_file, str) else list(ann_file)
        keys: list[str] = []
        labels: list[int] = []
        lists = lists if any(lists) else [self._default()]
        for name in lists:
            self._add(name, keys, labels)
        if num_classes is not None:
            selected = [i for i, label in enumerate(labels) if label < num_classes]
            keys = [keys[i] for i in selected]
            labels = [labels[i] for i in selected]
        if not keys:
            below = '' if num_classes is None else f' with labels below num_classes={num_classes}'
            first, *more = (self.files.path(name) for name in lists)
            raise NoData(
                f'{", ".join([first, *more])}: lists no images{below}; correct dataset.ann_file',
                key='file',
                value=first,
            )
        self.keys = Names(keys)
        if with_label and labels:
            self.labels = labels
            self.classes = numbered(labels)

    def _default(self) -> str:
        for name in (f'meta/{self.split}.txt', f'{self.split}.txt'):
            try:
                self.files.get(name)
            except (OSError, KeyError):
                continue
            return name
        raise NoData(
            f'{self.files.path(f"{self.split}.txt")}: no such list of images, and this storage '
            'cannot be searched; name a list by dataset.ann_file',
            key='file',
            value=self.files.path(f'{self.split}.txt'),
        )

    def _add(self, name: str, keys: list[str], labels: list[int]) -> None:
        for number, line in _lines(self.files, name):
            path, _, label = line.rpartition(' ')
            if path and label.lstrip('-').isdigit():
                labels.append(int(label))
            else:
                path = line
            keys.append(path)
            if labels and len(labels) != len(keys):
                raise UserError(
                    f'{self.files.path(name)}, line {number}: some lines have a label and some '
                    'have none; give all of them one, or none',
                    key='file',
                    value=self.files.path(name),
                )

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, i: int) -> str:
        """Return the path as listed."""
        return self.keys[i]

    def _where(self, i: int) -> str:
        return f'{self.split}/{self.keys[i]}' if self.split else self.keys[i]

    def name(self, i: int) -> str:
        """Return the path or address."""
        return self.files.path(self._where(i))

    def read(self, i: int) -> bytes:
        """Return the file's bytes."""
        return self.files.get(self._where(i))


def is_listed(data_root: str, split: str) -> bool:
    """Whether a data root is an address, or a folder with OpenMMLab's ``meta/<split>.txt``.

    When the split has class folders, the list counts only if one of its first files exists.
    """
    if '://' in data_root:
        return True
    folder = Path(data_root) / split
    meta = Path(data_root) / f'meta/{split}.txt'
    if not split or not folder.is_dir() or not meta.is_file():
        return False
    if not any(path.is_dir() for path in folder.iterdir()):
        return True
    with meta.open() as lines:
        first = [line.strip() for line in itertools.islice(lines, 100)]
    return any((folder / line.rpartition(' ')[0]).is_file() for line in first if ' ' in line)
