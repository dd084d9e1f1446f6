"""Source of Hugging Face's data sets: a folder, Arrow files on disk, or a name of the hub."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core import UserError
from ...core.errors import NoData, closest
from ...registry import DATASETS
from .base import read_file
from .columns import (
    RowSource,
    column_labels,
    file_of_cell,
    image_column,
    label_column,
)

ON_DISK = ('dataset_dict.json', 'state.json')  # what `save_to_disk` writes


def library(kind: str) -> Any:
    """Return the library `datasets`. Raises UserError, for the source ``kind``, without it."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{kind} needs a library: pip install 'datasets'", key='datasets', value=None
        ) from None
    return datasets


def loaded(datasets: Any, name: str, root: Path, args: dict[str, Any]) -> Any:
    """Return what is loaded, of all splits.

    Raises NoData where there is none, UserError where what is on disk shall be a stream.
    """
    if not name and not root.is_dir():
        raise NoData(
            f'{root}: no such folder; correct data_root, or name a data set of the hub by '
            'dataset.source.name',
            key='folder',
            value=str(root),
        )
    on_disk = not name and any((root / file).is_file() for file in ON_DISK)
    if on_disk and args.get('streaming'):
        raise UserError(
            f'{root}: what save_to_disk wrote is here already, and is read by number; use '
            "source.type='HuggingFaceSource'",
            key='dataset.source.type',
            value='HuggingFaceStream',
        )
    try:
        if name:
            return datasets.load_dataset(name, **args)
        if on_disk:
            return datasets.load_from_disk(str(root), **args)
        return datasets.load_dataset(str(root), **args)
    except Exception as error:  # of the hub, the network, and files of every kind
        what = f'dataset.source.name={name!r}' if name else str(root)
        cause = ' '.join(str(error).split())[:300] or type(error).__name__
        raise NoData(
            f'{what}: cannot be loaded ({cause}); correct the name or the folder, or look at the '
            'network',
            key='dataset.source.name' if name else 'folder',
            value=name or str(root),
        ) from None


def of_split(found: Any, split: str, where: str) -> Any:
    """Return the rows of a split of what was loaded. Raises UserError where there is none."""
    if not hasattr(found, 'keys'):  # no dict of splits
        return found
    if split not in found:
        raise UserError(
            f"{where}: has no dataset.split='{split}'{closest(split, found)}; it has "
            f'{", ".join(found)}',
            key='dataset.split',
            value=split,
        )
    return found[split]


@DATASETS.register_module()
class HuggingFaceSource(RowSource):
    """Images of a data set of the library `datasets`: ``name`` on the hub, else ``data_root``.

    ``data_root`` holds what ``save_to_disk`` wrote, or files that ``load_dataset`` knows (image
    folders, Parquet, WebDataset); ``args`` are their further arguments, such as ``dict(name=
    'full', revision='main')``. ``image`` and ``label`` name columns, by default the one of images
    and 'label' or the like. Image files are read as they were stored. Raises NoData when there is
    no such data set, UserError when the library is missing, and for a split or columns that it
    does not have. `HuggingFaceStream` reads the same without storing it.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        with_label: bool = True,
        *,
        name: str = '',
        image: str = '',
        label: str = '',
        args: dict[str, Any] | None = None,
    ) -> None:
        datasets = library(type(self).__name__)
        root = Path(data_root)
        self.where = name or str(root)
        self.split = split
        data = of_split(loaded(datasets, name, root, args or {}), split, self.where)
        if not len(data):
            raise NoData(
                f"{self.where}: dataset.split='{split}' has no rows",
                key='dataset.split',
                value=split,
            )
        images = {key: is_image(datasets, kind) for key, kind in data.features.items()}
        self.image = image_column(image, images, self.where)
        column = label_column(label, data.column_names, self.where) if with_label else ''
        if column:
            names = getattr(data.features[column], 'names', None)  # of a ClassLabel
            found = column_labels(list(data[column]), names, column, self.where)
            self.labels, self.classes, self.unlabelled = found
        self.data = undecoded(datasets, data, self.image)
        self.set_ending()

    def __len__(self) -> int:
        return len(self.data)

    def index(self) -> Iterator[Any]:
        """Yield the library's fingerprint of the data."""
        yield os.fsencode(f'{self.data._fingerprint}\n{len(self)}\n')

    def name(self, i: int) -> str:
        """Return the data set with split and row."""
        return f'{self.where}, row {i} of {self.split or "all"}'

    def read(self, i: int) -> bytes:
        """Return the image file of a row, from a path where it holds one."""
        cell = self.data[i][self.image]
        if isinstance(cell, dict) and cell.get('bytes') is None and cell.get('path'):
            return read_file(Path(cell['path']))
        return file_of_cell(cell)


def undecoded(datasets: Any, data: Any, column: str) -> Any:
    """Return the images of a data set or stream alone, as files: the library decodes none."""
    found = data.select_columns([column])
    if data.features and isinstance(data.features[column], datasets.Image):
        return found.cast_column(column, datasets.Image(decode=False))
    return found


def is_image(datasets: Any, kind: Any) -> bool:
    """Whether a column of a type of the library can hold image files."""
    binary = isinstance(kind, datasets.Value) and kind.dtype in ('binary', 'large_binary')
    return isinstance(kind, datasets.Image) or binary
