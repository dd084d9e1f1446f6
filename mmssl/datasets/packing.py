"""Writers of packed data sets: zip, TSV, WebDataset, LMDB, Parquet, folders, in one order."""

import base64
import io
import json
import os
import re
import tarfile
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from ..core import UserError
from .image_formats import opened
from .sources.parquet import parquet_library
from .sources.shards import count_shard, write_shard_index
from .sources.tsv import write_index

GROUP = 100  # rows of a row group of Parquet, as Hugging Face has it for images


class Writer(ABC):
    """Base class of writers, which take images one by one.

    Files get their final names when `close` has written all of them. ``key`` is a relative path
    with a file extension, ``label`` a number or None. ``limit`` is the number of images per file,
    for formats of several files.
    """

    reader: str  # the source that reads what was written

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        self.root = root
        self.split = split
        self.limit = limit
        self.count = 0
        self.finished: list[tuple[Path, Path]] = []
        root.mkdir(parents=True, exist_ok=True)

    def begin(self, name: str) -> Path:
        """Return where to write the file ``name``. Raises UserError when it exists already."""
        final = self.root / name
        if final.exists():
            raise UserError(
                f'{final}: exists; remove it or choose another folder',
                key='file',
                value=str(final),
            )
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(final.name + '.part')
        self.finished.append((part, final))
        return part

    @abstractmethod
    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write one image."""

    @abstractmethod
    def end(self) -> None:
        """Close the open files."""

    def index(self) -> None:  # noqa: B027, most formats need none
        """Write an index of the finished files, where the format has one."""

    def close(self) -> None:
        """Close all files, give them their final names and write the index."""
        self.end()
        for part, final in self.finished:
            os.replace(part, final)
        self.index()


class ZipWriter(Writer):
    """Writer of MoBY's ``split.zip`` and ``split_map.txt``; members are stored uncompressed.

    Raises UserError when one of the files exists already.
    """

    reader = 'ZipSource'
    prefix = ''

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        super().__init__(root, split, limit)
        self.archive = zipfile.ZipFile(self.begin(f'{split}.zip'), 'w')
        self.map = self.begin(f'{split}_map.txt').open('w')

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write a member and its line in the map."""
        # a fixed date: the same images give the same archive
        self.archive.writestr(zipfile.ZipInfo(key), content)
        self.map.write(f'{self.prefix}{key}\t{-1 if label is None else label}\n')

    def end(self) -> None:
        """Close archive and map."""
        self.archive.close()
        self.map.close()


class EsvitZipWriter(ZipWriter):
    """ZipWriter with the lines of EsViT, ``split.zip@/key``."""

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        super().__init__(root, split, limit)
        self.prefix = f'{split}.zip@/'


class TsvWriter(Writer):
    """Writer of ``split.tsv`` and its index, or with a limit of ``split/00000.tsv`` and so on."""

    reader = 'TsvSource'

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write a row. Raises UserError when the key has tabs or line ends or the file exists."""
        if '\t' in key or '\n' in key:
            raise UserError(
                f'{key!r}: a key in a TSV file must not hold tabs or line ends; rename the image',
                key='key',
                value=key,
            )
        if self.count == 0 or (self.limit and self.count % self.limit == 0):
            self.end()
            name = f'{self.split}/{self.count // self.limit:05d}' if self.limit else self.split
            self.file = self.begin(f'{name}.tsv').open('wb')
        row = f'{key}\t{-1 if label is None else label}\t'.encode()
        self.file.write(row + base64.b64encode(content) + b'\n')
        self.count += 1

    def end(self) -> None:
        """Close the open file."""
        if self.finished:
            self.file.close()

    def index(self) -> None:
        """Write the byte at which each row begins."""
        for _, final in self.finished:
            write_index(final)


class ShardWriter(Writer):
    """Writer of WebDataset's ``split-000000.tar`` and so on, and of the index ``split.json``."""

    reader = 'ShardSource'

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        super().__init__(root, split, limit or 1000)
        self.keys: set[str] = set()

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write an image and its label. Raises UserError when the key or the shard exists."""
        if self.count % self.limit == 0:
            self.end()
            name = f'{self.split}-{self.count // self.limit:06d}.tar'
            self.tar = tarfile.open(self.begin(name), 'w')  # noqa: SIM115, closed by `end`
        stem, ending = os.path.splitext(key)
        folder, _, name = stem.rpartition('/')
        stem = f'{folder}/{name.replace(".", "_")}'.strip('/')  # a key ends at the first dot
        if stem in self.keys:
            raise UserError(
                f'{key}: another image has the same name except for its extension or dots, which '
                'makes one key of both; rename one',
                key='key',
                value=key,
            )
        self.keys.add(stem)
        self._member(stem + ending.lower(), content)
        if label is not None:
            self._member(f'{stem}.cls', str(label).encode())
        self.count += 1

    def _member(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self.tar.addfile(info, io.BytesIO(content))

    def end(self) -> None:
        """Close the open shard."""
        if self.finished:
            self.tar.close()

    def index(self) -> None:
        """Count the shards and write their index."""
        entries = [count_shard(final) for _, final in self.finished]
        write_shard_index(self.root / f'{self.split}.json', entries)


class LmdbWriter(Writer):
    """Writer of an LMDB of files, ``split/key``, and of their list, ``split.txt``.

    Raises UserError when lmdb is not installed.
    """

    reader = 'ListSource'

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        super().__init__(root.parent, split, limit)
        try:
            import lmdb
        except ImportError:
            raise UserError(
                'writing LMDB needs a library: pip install lmdb', key='lmdb', value=None
            ) from None
        # the size is an address range, not space on disk
        self.base = lmdb.open(str(root), map_size=2**42, subdir=True)
        self.lines: list[str] = []

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write one value. Raises UserError when the database has the key already."""
        with self.base.begin(write=True) as change:
            if not change.put(f'{self.split}/{key}'.encode(), content, overwrite=False):
                raise UserError(
                    f'{self.split}/{key}: the database has this key already; choose another one',
                    key='key',
                    value=key,
                )
        self.lines.append(key if label is None else f'{key} {label}')

    def end(self) -> None:
        """Write the list and close."""
        with self.base.begin(write=True) as change:
            change.put(f'{self.split}.txt'.encode(), '\n'.join(self.lines).encode())
        self.base.close()


class ParquetWriter(Writer):
    """Writer of ``split.parquet``, or with a limit of ``split/00000.parquet`` and so on.

    Columns are ``image``, Hugging Face's struct of bytes and path, and ``label``. Raises UserError
    when a file exists already, and when pyarrow is not installed.
    """

    reader = 'ParquetSource'

    def __init__(self, root: Path, split: str, limit: int = 0) -> None:
        super().__init__(root, split, limit)
        self.parquet = parquet_library()
        import pyarrow

        self.arrow = pyarrow
        image = pyarrow.struct([('bytes', pyarrow.binary()), ('path', pyarrow.string())])
        features = dict(image=dict(_type='Image'))
        self.schema = pyarrow.schema(
            [('image', image), ('label', pyarrow.int64())],
            metadata={'huggingface': json.dumps(dict(info=dict(features=features)))},
        )
        self.rows: list[dict[str, Any]] = []

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write a row; `GROUP` of them are a row group."""
        if self.count == 0 or (self.limit and self.count % self.limit == 0):
            self.end()
            name = f'{self.split}/{self.count // self.limit:05d}' if self.limit else self.split
            self.file = self.parquet.ParquetWriter(self.begin(f'{name}.parquet'), self.schema)
        self.rows.append(dict(image=dict(bytes=content, path=key), label=label))
        if len(self.rows) == GROUP:
            self._write()
        self.count += 1

    def _write(self) -> None:
        if self.rows:
            self.file.write_table(self.arrow.Table.from_pylist(self.rows, self.schema))
        self.rows = []

    def end(self) -> None:
        """Close the open file."""
        if self.finished:
            self._write()
            self.file.close()


class FolderWriter(Writer):
    """Writer of one file per image, below ``split``."""

    reader = 'FolderSource'

    def add(self, key: str, label: int | None, content: bytes) -> None:
        """Write one file. Raises UserError when it exists already."""
        self.begin(f'{self.split}/{key}').write_bytes(content)

    def end(self) -> None:
        """Do nothing: no file stays open."""


FORMATS: dict[str, type[Writer]] = {
    'zip': ZipWriter,
    'esvit-zip': EsvitZipWriter,
    'tsv': TsvWriter,
    'shards': ShardWriter,
    'lmdb': LmdbWriter,
    'parquet': ParquetWriter,
    'folder': FolderWriter,
}


def file_of(key: str, content: bytes) -> tuple[str, bytes]:
    """Return key and file to write for an image: PNM, as `TorchvisionSource` gives it, becomes PNG.

    Raises UserError for a PNM that cannot be read.
    """
    if content[:2] in (b'P5', b'P6') and not re.search(r'\.(ppm|pgm)$', key, re.IGNORECASE):
        buffer = io.BytesIO()
        try:
            with opened(content, formats=('PPM',)) as image:
                image.save(buffer, 'PNG')
        except ValueError as error:
            raise UserError(f'{key}: {error}', key='file', value=key) from None
        content = buffer.getvalue()
    return key, content
