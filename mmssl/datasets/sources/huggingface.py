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


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "HuggingFaceSource needs a library: pip install 'datasets'", key='datasets', value=None
        ) from None
    return datasets


def _loaded(datasets: Any, name: str, root: Path, args: dict[str, Any]) -> Any:
    """Return what is loaded, of all splits. Raises NoData where there is none, in one line."""
    try:
        if name:
            return datasets.load_dataset(name, **args)
        if any((root / file).is_file() for file in ON_DISK):
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


@DATASETS.register_module()
class HuggingFaceSource(RowSource):
    """Images of a data set of the library `datasets`: ``name`` on the hub, else ``data_root``.

    ``data_root`` holds what ``save_to_disk`` wrote, or files that ``load_dataset`` knows (image
    folders, Parquet, WebDataset); ``args`` are their further arguments, such as ``dict(name=
    'full', revision='main')``. ``image`` and ``label`` name columns, by default the one of images
    and 'label' or the like. Image files are read as they were stored. Raises NoData when there is
    no such data set, UserError when the library is missing, and for a split or columns that it
    does not have.
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
        datasets = _library()
        root = Path(data_root)
        if not name and not root.is_dir():
            raise NoData(
                f'{root}: no such folder; correct data_root, or name a data set of the hub by '
                'dataset.source.name',
                key='folder',
                value=str(root),
            )
        self.where = name or str(root)
        self.split = split
        data = self._of_split(_loaded(datasets, name, root, args or {}), split)
        images = {key: _is_image(datasets, kind) for key, kind in data.features.items()}
        self.image = image_column(image, images, self.where)
        column = label_column(label, data.column_names, self.where) if with_label else ''
        if column:
            names = getattr(data.features[column], 'names', None)  # of a ClassLabel
            found = column_labels(list(data[column]), names, column, self.where)
            self.labels, self.classes, self.unlabelled = found
        self.data = data.select_columns([self.image])
        if isinstance(data.features[self.image], datasets.Image):
            self.data = self.data.cast_column(self.image, datasets.Image(decode=False))
        self.set_ending()

    def _of_split(self, loaded: Any, split: str) -> Any:
        """Return the rows of a split. Raises UserError where there is none, NoData without rows."""
        if hasattr(loaded, 'keys'):  # a dict of splits
            if split not in loaded:
                near = closest(split, loaded)
                raise UserError(
                    f"{self.where}: has no dataset.split='{split}'{near}; it has "
                    f'{", ".join(loaded)}',
                    key='dataset.split',
                    value=split,
                )
            loaded = loaded[split]
        if not len(loaded):
            raise NoData(
                f"{self.where}: dataset.split='{split}' has no rows",
                key='dataset.split',
                value=split,
            )
        return loaded

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


def _is_image(datasets: Any, kind: Any) -> bool:
    binary = isinstance(kind, datasets.Value) and kind.dtype in ('binary', 'large_binary')
    return isinstance(kind, datasets.Image) or binary
