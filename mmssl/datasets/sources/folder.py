"""Sources of image files: class folders, one flat folder, and lists of files in any storage."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmengine.fileio as fileio

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import Names, PerProcess, Source, class_labels, numbered, read_file
from .flat_split import annotated, is_flat
from .lists import read_list
from .scan import scan
from .streams import WebFiles, root_of_web
from .subset import chosen
from .what_is_data import EXTENSIONS, data_places, is_system

FIRST = 100  # lines of a list by which it is known whether it is one of this folder
NO_FOLDER = (
    'no such folder; pass your data by --cfg-options data_root=DIR (docs/datasets.md shows the '
    'layouts)'
)


@DATASETS.register_module()
class FolderSource(Source):
    """Images below ``data_root/split``: class folders, or without labels one flat folder.

    A flat folder has labels where a file beside it names the class of each image, as that of
    Tiny-ImageNet's and ImageNet's validation images (`flat_split`).
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
        beside = annotated(self.folder, split, keys) if with_label and is_flat(keys) else None
        if beside is None:
            classes, labels, self.unlabelled = class_labels(keys, self.folder)
        else:
            classes, labels = beside
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

    def index(self) -> Iterator[Any]:
        """Yield the paths below the split's folder."""
        yield from self.keys.buffers()

    def key(self, i: int) -> str:
        """Return the path below the split's folder."""
        found: str = self.keys[i]
        return found

    def name(self, i: int) -> str:
        """Return the path."""
        return str(self.folder / self.keys[i])

    def read(self, i: int) -> bytes:
        """Return the file's bytes."""
        return read_file(Path(self.name(i)))


class LocalFiles:
    """Files on disk, by absolute paths or paths relative to a root."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.root / name)

    def get(self, name: str) -> bytes:
        """Return a file's bytes."""
        return read_file(self.root / name)


class StoredFiles:
    """Files read through a file backend of mmengine, chosen by the prefix of the root.

    Prefixes are 'http://', 's3://' and those of registered backends; 'lmdb://FILE' is an LMDB of
    files.
    """

    def __init__(self, root: str, backend_args: dict[str, Any] | None = None) -> None:
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
        self.backend: PerProcess[Any] = PerProcess(self._open)

    def _open(self) -> Any:
        # LMDB opens a file once, for all its readers and, as it neither locks nor writes, their
        # forks; a connection is no two processes' to share
        if root_of_web(self.uri) and not self.args:
            return WebFiles()  # mmengine's backend waits for ever
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


@DATASETS.register_module()
class ListSource(Source):
    """Files named by lists of ``path`` or ``path label``, paths relative to ``data_root/split``.

    Absolute paths are taken as they are. Tabs and commas separate as well, and a header is passed
    over.

    ``ann_file`` names one list or several, below ``data_root``; by default ``meta/<split>.txt``
    or ``<split>.txt``. ``num_classes`` keeps labels below it (WebVision). A ``data_root`` with a
    prefix ('s3://', 'lmdb://') is read through mmengine's file backend, which gets
    ``backend_args``. Hidden files are left out. Raises NoData when there is no folder, list or
    image, UserError, with the line's number, when a label is no number of a class or only some
    lines have one.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        ann_file: str | Sequence[str] = '',
        num_classes: int | None = None,
        backend_args: dict[str, Any] | None = None,
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
        causes = []
        for name in (f'meta/{self.split}.txt', f'{self.split}.txt'):
            try:
                self._content(name)
            except NoData as error:
                causes.append(str(error))
                continue
            return name
        raise NoData(
            f'{causes[-1]}, and this storage cannot be searched; name a list by dataset.ann_file',
            key='file',
            value=self.files.path(f'{self.split}.txt'),
        )

    def _content(self, name: str) -> bytes:
        """Return the bytes of a list. Raises NoData when they cannot be had."""
        try:
            return self.files.get(name)
        except UserError:
            raise
        except Exception as error:  # each storage has failures of its own
            cause = ' '.join(str(error).split())
            raise NoData(
                f'{self.files.path(name)}: no such list of images ({cause})',
                key='file',
                value=self.files.path(name),
            ) from None

    def _add(self, name: str, keys: list[str], labels: list[int]) -> None:
        address = self.files.path(name)
        try:
            new_keys, new_labels = read_list(self._content(name))
            if keys and bool(labels) != bool(new_labels):
                raise ValueError('of several lists some have labels and some have none')
        except ValueError as error:
            raise UserError(f'{address}, {error}', key='file', value=address) from None
        kept = data_places(new_keys, address)
        keys += [new_keys[i] for i in kept]
        labels += [new_labels[i] for i in kept] if new_labels else []

    def __len__(self) -> int:
        return len(self.keys)

    def index(self) -> Iterator[Any]:
        """Yield the paths as listed."""
        yield from self.keys.buffers()

    def key(self, i: int) -> str:
        """Return the path as listed."""
        found: str = self.keys[i]
        return found

    def _where(self, i: int) -> str:
        key = self.keys[i]
        return f'{self.split}/{key}' if self.split and not key.startswith('/') else key

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
    if not any(path.is_dir() and not is_system(path.name) for path in folder.iterdir()):
        return True
    try:
        paths, labels = read_list(read_file(meta), FIRST)
    except ValueError as error:
        raise UserError(f'{meta}, {error}', key='file', value=str(meta)) from None
    return bool(labels) and any((folder / path).is_file() for path in paths)
