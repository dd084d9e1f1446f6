"""Columns of tables of images (Parquet, Hugging Face): which hold images and labels, and labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...core import UserError
from ...core.errors import closest
from .base import MAX_BYTES, Source, numbered
from .lists import MAX_CLASSES

LABELS = ('label', 'labels', 'class', 'target', 'fine_label')  # looked for in this order
ENDINGS = {b'\xff\xd8\xff': 'jpg', b'RIFF': 'webp', b'II*\0': 'tif', b'MM\0*': 'tif'}


def image_column(asked: str, images: Mapping[str, bool], where: str) -> str:
    """Return the column of images: the one asked for, else the only one of its kind.

    ``images`` says of each column whether it can hold image files. Raises UserError for a column
    that is not there or holds none, and where it is not clear which does.
    """
    _check_column(asked, images, where, 'image')
    if asked and not images[asked]:
        raise UserError(
            f"{where}: dataset.source.image='{asked}': the column holds no image files; those "
            f'that can are {_listed([name for name, can in images.items() if can])}',
            key='dataset.source.image',
            value=asked,
        )
    found = [asked] if asked else [name for name, can in images.items() if can]
    if len(found) != 1:
        raise UserError(
            f'{where}: {len(found)} columns can hold images ({_listed(found)}), of '
            f'{_listed(list(images))}; name the one by dataset.source.image',
            key='dataset.source.image',
            value=asked,
        )
    return found[0]


def label_column(asked: str, columns: Sequence[str], where: str) -> str:
    """Return the column of labels: the one asked for, a usual name, or ''.

    Raises UserError for a column that is not there.
    """
    _check_column(asked, columns, where, 'label')
    return asked or next((name for name in LABELS if name in columns), '')


def _check_column(asked: str, columns: Any, where: str, what: str) -> None:
    if asked and asked not in columns:
        raise UserError(
            f"{where}: has no column '{asked}'{closest(asked, columns)}; it has "
            f'{_listed(list(columns))}',
            key=f'dataset.source.{what}',
            value=asked,
        )


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names[:20]) or 'none'


def column_labels(
    values: Sequence[Any], names: Sequence[str] | None, column: str, where: str
) -> tuple[list[int], tuple[str, ...], str]:
    """Return labels, class names, and why there are none: numbers, or texts in sorted order.

    Rows without a label, None or -1, leave all without. Raises UserError for other values.
    """
    if any(value is None for value in values):
        return [], (), f'rows of column {column} are empty'
    if all(isinstance(value, str) for value in values):
        classes = tuple(sorted(set(values)))
        place = {name: i for i, name in enumerate(classes)}
        return [place[value] for value in values], classes, ''
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
    if not whole or max(values) >= MAX_CLASSES:
        raise UserError(
            f'{where}: column {column} holds no labels, which are whole numbers below '
            f'{MAX_CLASSES} or names; name another by dataset.source.label, or give '
            'with_label=False',
            key='dataset.source.label',
            value=column,
        )
    if min(values) < 0:
        return [], (), f'rows of column {column} are below 0'
    labels = [int(value) for value in values]
    fits = names is not None and len(names) > max(labels)
    return labels, tuple(names) if fits and names is not None else numbered(labels), ''


def file_of_cell(cell: Any) -> bytes:
    """Return the image file in a cell: bytes, or a struct with ``bytes``.

    Raises ValueError where there is none, or one of more than `MAX_BYTES`.
    """
    content = cell.get('bytes') if isinstance(cell, dict) else cell
    if content is None and isinstance(cell, dict) and cell.get('path'):
        raise ValueError(f'the row holds no image but its path, {cell["path"]}')
    if not isinstance(content, bytes):
        raise ValueError('the row holds no image')
    if len(content) > MAX_BYTES:
        raise ValueError(f'the row holds {len(content)} bytes')
    return content


def ending_of(content: bytes) -> str:
    """Return the file extension of an image, by its first bytes; 'png' where it is not known."""
    return next((end for sign, end in ENDINGS.items() if content.startswith(sign)), 'png')


class RowSource(Source):
    """Base class of sources whose images are rows of a table; `set_ending` ends the constructor."""

    ending: str

    def set_ending(self) -> None:
        """Take the file extension of the first image; that it cannot be read is said on reading."""
        try:
            first = self.read(0)
        except (OSError, ValueError):
            first = b''
        self.ending = ending_of(first)

    def key(self, i: int) -> str:
        """Return the number of the row, below its class where it has one."""
        folder = self.classes[self.labels[i]].replace('/', '_') if len(self.labels) else ''
        return f'{folder}/{i:08d}.{self.ending}'.lstrip('/')
