"""Classes of images, by a trained classifier: printed, and into a file."""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..analysis.session import model_with_weights
from ..apis.images import to_list
from ..apis.inference import ImageClassificationInferencer
from ..core import UserError
from ..core.errors import at_least
from ..core.io import atomic_path


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for another ending of --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='classifier.pth, name of a published model, or config file')
    parser.add_argument('images', nargs='+', help='images or folders of images')
    parser.add_argument(
        '--weights', help="file, address, name or 'random'; default: the published ones"
    )
    parser.add_argument('--out', type=Path, help='.csv or .json file')
    parser.add_argument('--show-dir', help='folder for images with their classes')
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args(argv)
    at_least('--batch-size', args.batch_size)
    if args.out is not None and args.out.suffix not in ('.csv', '.json'):
        raise UserError(
            f'--out {args.out}: end the name with .csv or .json', key='--out', value=str(args.out)
        )
    return args


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Print the class of each image, and return a row for each.

    Raises UserError for what is no image; NotImplementedError, in one line, for a model that
    predicts no classes.
    """
    args = parse(argv)
    paths = [str(path) for given in args.images for path in to_list(given)]
    try:
        model = model_with_weights(args.model, args.weights, args.device)
        infer = ImageClassificationInferencer(model)
    except NotImplementedError as error:
        raise UserError(str(error), key='model', value=args.model) from None
    found = infer(paths, batch_size=args.batch_size, show_dir=args.show_dir)
    rows = [
        dict(
            path=path,
            pred_class=one.get('pred_class', str(one['pred_label'])),
            pred_label=one['pred_label'],
            pred_score=round(one['pred_score'], 6),
        )
        for path, one in zip(paths, found, strict=True)
    ]
    if args.out is not None:
        write(args.out, rows)
    for row in rows:
        print(f'{row["path"]}: {row["pred_class"]} ({row["pred_score"]:.3f})')
    return rows


def write(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as CSV or JSON, whole or not at all."""
    with atomic_path(out) as beside, open(beside, 'w', newline='', encoding='utf-8') as file:
        if out.suffix == '.json':
            json.dump(rows, file, indent=2)
            return
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
