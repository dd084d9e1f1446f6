"""Write the features of a folder of images to a .npz file: paths, features, labels, classes.

features (N, C) float32 are the pooled features that kNN uses; labels (N,) are indices into
classes, the names of the class folders, or -1 where there are none.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
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
    parser.add_argument('model', help='name of a published model, or config file')
    parser.add_argument('data', help='folder of images, in class folders or not')
    parser.add_argument('--out', required=True, type=Path, help='the .npz file to write')
    parser.add_argument(
        '--weights', help="file, address or model name, or 'random'; default: the published ones"
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2, help='processes that read images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args(argv)
    if args.out.suffix != '.npz':
        raise UserError(
            f'--out {args.out}: end the name with .npz', key='--out', value=str(args.out)
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
    write_arrays(
        args.out,
        paths=np.array([images.name(i) for i in range(len(images))]),
        features=bank.features.cpu().numpy(),
        labels=bank.labels.cpu().numpy(),
        classes=np.array(images.classes, dtype=str),
    )
    print(f'{args.out}: {images.describe()}, {bank.features.shape[1]} features each')


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays to a .npz file, whole or not at all."""
    with atomic_path(path) as beside, open(beside, 'wb') as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
