"""Write the features of a folder of images to a file: paths, features, labels, classes.

.npz      arrays paths (N,), features (N, C) float32, labels (N,) and classes
.csv      a row for each image: path, label, class, feature_0, feature_1, ...
.parquet  the same columns, features as one list (pip install 'mmssl[data]')

Features are the pooled ones that kNN uses; labels are indices into classes, the names of the class
folders, or -1 where there are none.
"""

import argparse
import csv
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ..analysis.session import model_with_weights
from ..apis.images import evaluation_steps, reading_step
from ..core import UserError
from ..core.errors import at_least
from ..core.io import atomic_path
from ..datasets import ImageDataset
from ..evaluation.feature_extraction import extract


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises UserError for another ending of --out and for numbers that are too small.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('model', help='published model, config, or training file of ours')
    parser.add_argument('data', help='folder of images, in class folders or not')
    parser.add_argument('--out', required=True, type=Path, help='.npz, .csv or .parquet file')
    parser.add_argument(
        '--weights', help="file, address or model name, or 'random'; default: the published ones"
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2, help='processes that read images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args(argv)
    if args.out.suffix not in WRITERS:
        raise UserError(
            f'--out {args.out}: end the name with {", ".join(WRITERS)}',
            key='--out',
            value=str(args.out),
        )
    if args.out.suffix == '.parquet' and importlib.util.find_spec('pyarrow') is None:
        raise UserError(
            f"--out {args.out}: Parquet needs pyarrow: pip install 'mmssl[data]'",
            key='--out',
            value=str(args.out),
        )
    at_least('--batch-size', args.batch_size)
    at_least('--workers', args.workers, smallest=0)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Extract the features of a folder and write them to the file."""
    args = parse(argv)
    model = model_with_weights(args.model, args.weights, args.device)
    images = ImageDataset(args.data, pipeline=[reading_step(model), *evaluation_steps(model)])
    loader = DataLoader(images, args.batch_size, num_workers=args.workers)
    bank = extract(model, loader, Path(args.data).name)
    table = Table(
        [images.name(i) for i in range(len(images))],
        bank.features.cpu().numpy(),
        bank.labels.cpu().numpy(),
        images.classes,
    )
    WRITERS[args.out.suffix](args.out, table)
    print(f'{args.out}: {images.describe()}, {bank.features.shape[1]} features each')


class Table(NamedTuple):
    """Features of N images: paths, features (N, C), labels (N,), and the names of the classes."""

    paths: list[str]
    features: NDArray[Any]
    labels: NDArray[Any]
    classes: Sequence[str]

    def class_of(self, row: int) -> str:
        """Return the class name of an image, '' where it has none."""
        label = int(self.labels[row])
        return self.classes[label] if 0 <= label < len(self.classes) else ''


def write_npz(path: Path, table: Table) -> None:
    """Write the arrays, whole or not at all."""
    with atomic_path(path) as beside, open(beside, 'wb') as file:
        np.savez(
            file,
            paths=np.array(table.paths),
            features=table.features,
            labels=table.labels,
            classes=np.array(table.classes, dtype=str),
        )


def write_csv(path: Path, table: Table) -> None:
    """Write a row for each image, whole or not at all; numbers keep all their digits."""
    with atomic_path(path) as beside, open(beside, 'w', newline='', encoding='utf-8') as file:
        rows = csv.writer(file)
        columns = [f'feature_{i}' for i in range(table.features.shape[1])]
        rows.writerow(['path', 'label', 'class', *columns])
        for i, (name, values) in enumerate(zip(table.paths, table.features, strict=True)):
            rows.writerow([name, int(table.labels[i]), table.class_of(i), *values.tolist()])


def write_parquet(path: Path, table: Table) -> None:
    """Write a column of lists beside path, label and class, whole or not at all."""
    import pyarrow
    from pyarrow import parquet

    features = pyarrow.array(list(table.features), pyarrow.list_(pyarrow.float32()))
    columns = {
        'path': table.paths,
        'label': table.labels,
        'class': [table.class_of(i) for i in range(len(table.paths))],
        'features': features,
    }
    with atomic_path(path) as beside:
        parquet.write_table(pyarrow.table(columns), beside)


WRITERS: dict[str, Callable[[Path, Table], None]] = {
    '.npz': write_npz,
    '.csv': write_csv,
    '.parquet': write_parquet,
}
