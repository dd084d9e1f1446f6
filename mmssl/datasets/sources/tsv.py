"""Source of TSV files with base64 images and an index, as EsViT keeps its data sets."""

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from .base import RandomFile, Source, existing, numbered, parsed
from .lists import label_number, labelled_lines

HEAD = 4096  # bytes that hold key and label of a row


class TsvFile:
    """Rows of one TSV file; ``.linelist`` and ``.chunks`` beside it select some of them.

    ``index`` replaces ``.lineidx``, the byte where each row begins. ``.chunks`` gives ranges of
    rows of each class, and with ``classes`` their labels. Raises NoData when a file is missing,
    UserError when one is damaged or rows beyond the index are selected.
    """

    def __init__(
        self, path: Path, index: Path | None = None, classes: Mapping[str, int] | None = None
    ) -> None:
        self.path = existing(path, 'TSV file')
        self.file = RandomFile(path)
        self.size = path.stat().st_size
        offsets = read_numbers(index or path.with_suffix('.lineidx'))
        self.labels: list[int] = []
        rows: NDArray[Any] = np.arange(len(offsets))
        chunks = path.with_suffix('.chunks')
        lines = path.with_suffix('.linelist')
        if lines.is_file():
            rows = np.sort(read_numbers(lines))
        if chunks.is_file():
            rows = self._chunks(chunks, rows, classes or {})
        if len(rows) and rows.max() >= len(offsets):
            raise UserError(
                f'{path}: has {len(offsets)} rows, but its .linelist or .chunks selects row '
                f'{rows.max()}; write them for this file',
                key='file',
                value=str(path),
            )
        self.offsets = offsets[rows]

    def _chunks(self, path: Path, rows: NDArray[Any], classes: Mapping[str, int]) -> NDArray[Any]:
        """Return the rows of known classes, or of all without a map, and note their labels.

        ``rows`` ascend. Raises UserError when the file is not a table of first and last rows, or
        when these overlap.
        """
        selected = []
        free = len(rows)
        for name, first, last in read_chunks(path):
            if name in classes or not classes:
                # bounded first: numbers of a file may be beyond those of the array
                begin = np.searchsorted(rows, min(first, 2**62), 'left')
                of_class = rows[begin : np.searchsorted(rows, min(last, 2**62), 'right')]
                free -= len(of_class)
                if free < 0:
                    raise UserError(
                        f'{path}: its ranges overlap at class {name[:60]!r}; give each row to one '
                        'class',
                        key='file',
                        value=str(path),
                    )
                selected.append(of_class)
                if classes:
                    self.labels += [classes[name]] * len(of_class)
        return np.concatenate([np.zeros(0, np.int64), *selected])

    def __len__(self) -> int:
        return len(self.offsets)

    def _check(self, begin: int) -> None:
        if begin >= self.size or (begin and self.file.read(begin - 1, 1) != b'\n'):
            raise ValueError(f'the index points to byte {begin}, where no row begins')

    def head(self, i: int) -> list[str]:
        """Return the first columns of row i; the last one may be cut."""
        begin = int(self.offsets[i])
        self._check(begin)
        text = self.file.read(begin, HEAD).partition(b'\n')[0]
        return [column.strip() for column in text.decode(errors='replace').split('\t')]

    def image(self, i: int) -> bytes:
        """Return the image file in column 3 of row i. Raises ValueError when the row is damaged."""
        begin = int(self.offsets[i])
        self._check(begin)
        columns = self.file.line(begin).split(b'\t')
        if len(columns) < 3:
            raise ValueError(f'a row of {len(columns)} columns, not key, label and image')
        try:
            return base64.b64decode(columns[2].strip(), validate=True)
        except binascii.Error as error:
            raise ValueError(f'column 3 is not base64 ({error})') from None


def read_numbers(path: Path) -> NDArray[Any]:
    """Return the integers of a file, one per line, int64 (N,).

    Raises NoData when there is no such file, UserError when it holds anything but numbers from 0.
    """
    if path.suffix == '.lineidx' and not path.is_file():
        raise NoData(
            f'{path}: no such index; write it with python tools/dataset_tools/pack_dataset.py '
            f'--index {path.with_suffix(".tsv")}',
            key='file',
            value=str(path),
        )
    text = existing(path, 'file of row numbers').read_bytes().split()
    try:
        numbers = np.array(text, np.int64)
    except (ValueError, OverflowError):
        numbers = np.full(1, -1)
    if len(numbers) and numbers.min() < 0:
        raise UserError(
            f'{path}: holds more than whole numbers from 0; write it again, one number per line',
            key='file',
            value=str(path),
        )
    return numbers


def read_chunks(path: Path) -> list[tuple[str, int, int]]:
    """Return class, first row and last row of the entries of a ``.chunks`` file.

    Raises UserError when it is not JSON of that form.
    """
    try:
        table = parsed(path.read_bytes())
        chunks = [(name, first, last) for name, (first, last) in table.items()]
        if any(type(row) is not int or row < 0 for chunk in chunks for row in chunk[1:]):
            raise ValueError('a row that is no whole number from 0')
    except (ValueError, TypeError, AttributeError) as error:
        cause = ' '.join(str(error).split())
        raise UserError(
            f'{path}: not a table {{"class": [first row, last row]}} ({cause}); write it again',
            key='file',
            value=str(path),
        ) from None
    return chunks


def write_index(path: Path) -> Path:
    """Write ``.lineidx`` of a TSV file and return its path. Raises NoData when it is missing."""
    index = path.with_suffix('.lineidx')
    at = 0
    with existing(path, 'TSV file').open('rb') as rows, index.open('w') as out:
        for row in rows:
            out.write(f'{at}\n')
            at += len(row)
    return index


def read_label_map(path: Path) -> dict[str, int]:
    """Return class -> label of lines ``class<TAB>number``.

    Raises NoData when there is no such file, UserError when a line has another form.
    """
    table = {}
    for number, name, label in labelled_lines(path, 'label map', 'class<TAB>number'):
        if label < 0:
            raise UserError(
                f'{path}, line {number}: give class<TAB>number, from 0', key='file', value=str(path)
            )
        table[name] = label
    return table


@DATASETS.register_module()
class TsvSource(Source):
    """``<split>.tsv``, or all of ``<split>/*.tsv`` by name, below ``data_root``.

    Rows are key, label, image in base64; their order is the index's. A label is a number, or with
    ``label_map`` (lines ``class<TAB>number``) a JSON list whose first entry has ``class``. Reading
    labels visits every row unless ``.chunks`` gives them: set ``with_label=False`` to pretrain on
    millions of images. ``index`` replaces ``<split>.lineidx``. Raises NoData when there are no
    files or no rows, UserError when a label is not in the map.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        label_map: str = '',
        index: str = '',
        with_label: bool = True,
    ) -> None:
        root = Path(data_root)
        single = root / f'{split}.tsv'
        paths = [single] if single.is_file() else sorted((root / split).glob('*.tsv'))
        if not paths:
            raise NoData(
                f'{single}: no such file, and no *.tsv in {root / split}; correct data_root',
                key='file',
                value=str(single),
            )
        self.table = read_label_map(root / label_map) if label_map else {}
        self.files = [TsvFile(p, root / index if index else None, self.table) for p in paths]
        self.ends = np.cumsum([len(file) for file in self.files])
        if not len(self):
            raise NoData(
                f'{paths[0]}: no rows to use; check its .lineidx, .linelist and .chunks',
                key='file',
                value=str(paths[0]),
            )
        if with_label:
            self._read_labels()

    def _read_labels(self) -> None:
        labels = [label for file in self.files for label in file.labels or self._scan(file)]
        if any(label >= 0 for label in labels):
            self.labels = labels
            names = {label: name for name, label in self.table.items()}
            self.classes = tuple(names.get(int(name), name) for name in numbered(labels))

    def _scan(self, file: TsvFile) -> list[int]:
        return [self._label(file, i) for i in range(len(file))]

    def _label(self, file: TsvFile, i: int) -> int:
        """Return the label of a row; -1 where its place in the index is wrong, found on reading."""
        try:
            text = [*file.head(i), ''][1]
        except ValueError:
            return -1
        if not self.table:
            return self._number(file, i, text)
        try:
            return self.table[parsed(text)[0]['class']]
        except (ValueError, LookupError, TypeError):
            raise UserError(
                f'{file.path}, row {i}: its label {text[:60]!r} names no class of the label map; '
                'correct label_map',
                key='file',
                value=str(file.path),
            ) from None

    def _number(self, file: TsvFile, i: int, text: str) -> int:
        """Return the number that a row has for its label; -1 where it has none."""
        if not text.isascii() or not text.isdigit():
            return -1
        try:
            return label_number(text)
        except ValueError as error:
            raise UserError(
                f'{file.path}, row {i}: {error}', key='file', value=str(file.path)
            ) from None

    def place(self, i: int) -> tuple[TsvFile, int]:
        """Return the TSV file of image i and the image's row among those used."""
        number = int(np.searchsorted(self.ends, i, 'right'))
        return self.files[number], i - int(self.ends[number] - len(self.files[number]))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def index(self) -> Iterator[Any]:
        """Yield each file's name and size, and where its rows begin."""
        for file in self.files:
            yield os.fsencode(f'{file.path.name}\n{file.size}\n')
            yield file.offsets

    def key(self, i: int) -> str:
        """Return the row's first column."""
        file, row = self.place(i)
        return file.head(row)[0]

    def name(self, i: int) -> str:
        """Return file@key, or file and row number when the row cannot be read."""
        file, row = self.place(i)
        try:
            return f'{file.path}@{file.head(row)[0]}'
        except ValueError:
            return f'{file.path}, row {row}'

    def read(self, i: int) -> bytes:
        """Return the image file in the row."""
        file, row = self.place(i)
        return file.image(row)
