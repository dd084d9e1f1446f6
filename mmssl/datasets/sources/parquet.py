"""Source of images in Parquet files, whose row groups are read once in an epoch."""

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import Names, PerProcess, Source
from .columns import (
    column_labels,
    ending_of,
    file_of_cell,
    image_column,
    label_column,
    row_key,
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


def _files(root: Path, split: str) -> list[Path]:
    """Return the files of a split, by name. Raises NoData where there are none."""
    if root.suffix == '.parquet' and root.is_file():
        return [root]
    for layout in LAYOUTS if split else ('*.parquet', 'data/*.parquet'):
        found = sorted(path for path in root.glob(layout.format(split)) if path.is_file())
        if found:
            return found
    looked = ', '.join(layout.format(split or '*') for layout in LAYOUTS)
    raise NoData(
        f'{root}: no Parquet files (looked for {looked}); correct data_root or split',
        key='folder',
        value=str(root),
    )


def _opened(path: Path) -> Any:
    try:
        return parquet_library().ParquetFile(path)
    except UserError:
        raise
    except Exception as error:  # pyarrow's own, of files that are no Parquet
        raise UserError(
            f'{path}: not a Parquet file ({" ".join(str(error).split())[:200]})',
            key='file',
            value=str(path),
        ) from None


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

    def __init__(self, groups: list[tuple[Path, int]], column: str) -> None:
        self.groups = groups
        self.column = column
        self.files: dict[Path, Any] = {}
        self.kept: OrderedDict[int, Any] = OrderedDict()

    def get(self, group: int, row: int) -> Any:
        """Return the cell of a row of a group, which is kept for others."""
        if group not in self.kept:
            path, number = self.groups[group]
            if path not in self.files:
                self.files[path] = _opened(path)
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
class ParquetSource(Source):
    """Images in Parquet files ``split.parquet``, ``split/*``, ``split-*`` or ``data/split-*``.

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
        paths = _files(Path(data_root), split)
        files = [_opened(path) for path in paths]
        schema = files[0].schema_arrow
        where = str(paths[0])
        images = {field.name: _can_hold_images(field.type) for field in schema}
        self.image = image_column(image, images, where)
        column = label_column(label, schema.names, where) if with_label else ''
        for path, file in zip(paths, files, strict=True):
            if missing := {self.image, column or self.image} - set(file.schema_arrow.names):
                raise UserError(
                    f'{path}: has no column {", ".join(missing)}, which {paths[0]} has',
                    key='file',
                    value=str(path),
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
        self.ending = ending_of(self._first())
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
        return RowGroups(self.groups, self.image)

    def _first(self) -> bytes:
        """Return the first image, or no bytes where it has none: that is said on reading."""
        try:
            return self.read(0)
        except ValueError:
            return b''

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
            yield os.fsencode(f'{path.name}\n{group}\n{count}\n')

    def key(self, i: int) -> str:
        """Return the path in the row, or where these are not unique its number, below its class."""
        if self.keys is not None:
            return self.keys[i]
        return row_key(i, self.classes[self.labels[i]] if len(self.labels) else '', self.ending)

    def name(self, i: int) -> str:
        """Return the file with row group and row."""
        group, row = self.place(i)
        path, number = self.groups[group]
        return f'{path}, row {row} of group {number}'

    def read(self, i: int) -> bytes:
        """Return the image file of a row."""
        return file_of_cell(self.rows().get(*self.place(i)))
