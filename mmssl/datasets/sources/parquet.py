"""Source of images in Parquet files, here or at an address; row groups are read once an epoch."""

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from fsspec.core import url_to_fs

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import Names, PerProcess
from .columns import (
    RowSource,
    column_labels,
    file_of_cell,
    image_column,
    label_column,
)
from .shards import WINDOW

LAYOUTS = ('{}.parquet', '{}/*.parquet', '{}-*.parquet', 'data/{}-*.parquet')  # of a split


def parquet_library() -> Any:
    """Return pyarrow.parquet. Raises UserError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            'Parquet files need a library: pip install pyarrow', key='pyarrow', value=None
        ) from None
    return pyarrow.parquet


class Storage:
    """Where the files are: a folder, or an address that the library fsspec knows.

    Of hf://datasets/OWNER/NAME and s3://BUCKET/FOLDER the parts of files that are read travel.
    Raises NoData where the address leads nowhere.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip('/')
        # connections are no two processes' to share
        self.connected: PerProcess[tuple[Any, str]] = PerProcess(self._connected)
        self.folder = self.connected()[1]

    def _connected(self) -> tuple[Any, str]:
        try:
            return url_to_fs(self.root or '.')  # type: ignore[no-any-return, unused-ignore]
        except Exception as error:  # of every kind of storage, and of libraries that are missing
            raise self.nothing(_cause(error)) from None

    @property
    def files(self) -> Any:
        """The file system of this process."""
        return self.connected()[0]

    def nothing(self, cause: str) -> NoData:
        """Return the error that nothing was found."""
        return NoData(
            f'{self.root}: no Parquet files ({cause}); correct data_root or split, or look at the '
            'network',
            key='folder',
            value=self.root,
        )

    def of_split(self, split: str) -> list[str]:
        """Return the paths of a split's files, by name. Raises NoData where there are none."""
        layouts = LAYOUTS if split else ('*.parquet', 'data/*.parquet')
        try:
            if self.folder.endswith('.parquet') and self.files.isfile(self.folder):
                return [self.folder]
            for layout in layouts:
                found = self.files.glob(f'{self.folder}/{layout.format(split)}')
                if found := [path for path in found if self.files.isfile(path)]:
                    return sorted(found)
        except Exception as error:  # of every kind of storage
            raise self.nothing(_cause(error)) from None
        raise self.nothing(f'looked for {", ".join(x.format(split) for x in layouts)}')

    def name(self, path: str) -> str:
        """Return the address by which a user finds a file."""
        return path if '://' not in self.root else str(self.files.unstrip_protocol(path))

    def open(self, path: str) -> Any:
        """Return a file's reader. Raises UserError for what is no Parquet file."""
        try:
            return parquet_library().ParquetFile(self.files.open(path, 'rb'))
        except UserError:
            raise
        except Exception as error:  # pyarrow's own, of files that are no Parquet
            raise UserError(
                f'{self.name(path)}: not a Parquet file ({_cause(error)})',
                key='file',
                value=self.name(path),
            ) from None


def _cause(error: BaseException) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__


def _can_hold_images(kind: Any) -> bool:
    """Whether a column's type is bytes, or a struct of bytes as Hugging Face's images."""
    import pyarrow.types as types

    if types.is_struct(kind):
        place = kind.get_field_index('bytes')
        return place >= 0 and _can_hold_images(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _has_paths(kind: Any) -> bool:
    """Whether a column's type is a struct with a path beside the bytes."""
    import pyarrow.types as types

    return bool(types.is_struct(kind) and kind.get_field_index('path') >= 0)


def _class_names(schema: Any, column: str) -> list[str] | None:
    """Return the class names that Hugging Face's metadata has for a column, or None."""
    try:
        features = json.loads(schema.metadata[b'huggingface'])['info']['features']
        names = features[column]['names']
    except (TypeError, KeyError, ValueError):
        return None
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if texts else None


class RowGroups:
    """The image column of the row groups that a process has read last."""

    def __init__(self, storage: Storage, groups: list[tuple[str, int]], column: str) -> None:
        self.storage = storage
        self.groups = groups
        self.column = column
        self.files: dict[str, Any] = {}
        self.kept: OrderedDict[int, Any] = OrderedDict()

    def get(self, group: int, row: int) -> Any:
        """Return the cell of a row of a group, which is kept for others."""
        if group not in self.kept:
            path, number = self.groups[group]
            if path not in self.files:
                self.files[path] = self.storage.open(path)
            table = self.files[path].read_row_group(number, columns=[self.column])
            self.kept[group] = table.column(0)
            while self._beyond_a_window():
                self.kept.popitem(last=False)
        else:
            self.kept.move_to_end(group)
        return self.kept[group][row].as_py()

    def _beyond_a_window(self) -> bool:
        """Whether no window that the sampler shuffles reaches from the oldest group to the last."""
        _, *between = map(len, self.kept.values())
        return sum(between[:-1]) >= WINDOW


@DATASETS.register_module()
class ParquetSource(RowSource):
    """Images in Parquet files ``split.parquet``, ``split/*``, ``split-*`` or ``data/split-*``.

    ``data_root`` is a folder, a file or an address of fsspec's, such as hf://datasets/OWNER/NAME.

    ``image`` names the column of image files, bytes or Hugging Face's struct, where more than one
    can be; ``label`` that of labels, numbers or names, by default a usual name such as 'label'.
    Row groups are shards to `EpochSampler`: each is read once in an epoch, by one worker, or two
    where a run of images ends in it. Raises NoData when there are no files or rows, UserError when
    pyarrow is missing, for a damaged file, and for columns that hold no images or labels.
    """

    locality = 'shard'

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        with_label: bool = True,
        *,
        image: str = '',
        label: str = '',
    ) -> None:
        self.storage = Storage(data_root)
        paths = self.storage.of_split(split)
        files = [self.storage.open(path) for path in paths]
        schema = files[0].schema_arrow
        where = self.storage.name(paths[0])
        images = {field.name: _can_hold_images(field.type) for field in schema}
        self.image = image_column(image, images, where)
        column = label_column(label, schema.names, where) if with_label else ''
        for path, file in zip(paths, files, strict=True):
            if missing := {self.image, column or self.image} - set(file.schema_arrow.names):
                raise UserError(
                    f'{self.storage.name(path)}: has no column {", ".join(missing)}, which {where} '
                    'has',
                    key='file',
                    value=self.storage.name(path),
                )
        self.groups = [
            (path, group)
            for path, file in zip(paths, files, strict=True)
            for group in range(file.num_row_groups)
        ]
        self.shards = [
            file.metadata.row_group(group).num_rows
            for file in files
            for group in range(file.num_row_groups)
        ]
        self.ends = np.cumsum(self.shards)
        if not sum(self.shards):
            raise NoData(f'{where}: has no rows; write it again', key='file', value=where)
        if column:
            values = [v for f in files for v in f.read(columns=[column]).column(0).to_pylist()]
            found = column_labels(values, _class_names(schema, column), column, where)
            self.labels, self.classes, self.unlabelled = found
        self.rows = PerProcess(self._rows)
        self.set_ending()
        self.keys = self._stored_keys(files)

    def _stored_keys(self, files: list[Any]) -> Names | None:
        """Return the paths that the rows have beside their images, None where they are not unique.

        Hugging Face keeps the file's name alone, which images of several folders may share.
        """
        if not _has_paths(files[0].schema_arrow.field(self.image).type):
            return None
        found: list[str] = []
        for file in files:
            (column,) = file.read(columns=[f'{self.image}.path']).columns
            found += [cell['path'] for cell in column.to_pylist() if cell and cell['path']]
        return Names(found) if len(set(found)) == len(self) else None

    def _rows(self) -> RowGroups:
        return RowGroups(self.storage, self.groups, self.image)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def place(self, i: int) -> tuple[int, int]:
        """Return the row group of image i and its row in it."""
        group = int(np.searchsorted(self.ends, i, 'right'))
        return group, i - int(self.ends[group]) + self.shards[group]

    def index(self) -> Iterator[Any]:
        """Yield the paths in the rows, or the files' names and the lengths of their row groups."""
        if self.keys is not None:
            yield from self.keys.buffers()
            return
        for (path, group), count in zip(self.groups, self.shards, strict=True):
            yield os.fsencode(f'{path.rpartition("/")[2]}\n{group}\n{count}\n')

    def key(self, i: int) -> str:
        """Return the path in the row, or where these are not unique its number, below its class."""
        if self.keys is not None:
            found: str = self.keys[i]
            return found
        return super().key(i)

    def name(self, i: int) -> str:
        """Return the file with row group and row."""
        group, row = self.place(i)
        path, number = self.groups[group]
        return f'{self.storage.name(path)}, row {row} of group {number}'

    def read(self, i: int) -> bytes:
        """Return the image file of a row."""
        return file_of_cell(self.rows().get(*self.place(i)))
