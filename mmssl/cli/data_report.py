"""Tell what is in a data set, as one page and one JSON, and write a list without what is wrong.

    mmssl data data/imagenet                       # its splits train, val, test, as far as there
    mmssl data DIR --split train --source TsvSource
    mmssl data CONFIG --cfg-options data_root=DIR  # the data sets of a config
    mmssl data DIR --clean clean.txt --pretrained MODEL

Every image is read and decoded: what cannot be is what training would replace. Then equal and
nearly equal images, those that are in several splits, counts by class, sizes, modes, mean and std
of each channel; with a network also images unlike all others. A run that was stopped goes on where
it stopped. The exit status is 1 when there are unreadable images.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from ..analysis.session import model_with_weights
from ..apis import load_config
from ..core import UserError
from ..core.errors import at_least, escaped
from ..core.io import atomic_path, atomic_write
from ..data_report import Measurements, features, measure, summarise
from ..data_report.data_page import data_page
from ..data_report.findings import Report, clean_list, left_out, to_json
from ..datasets import ImageDataset
from ..datasets.transforms.load_image import LoadImage, reader
from ..registry import DATASETS
from .options import OptionAction

SPLITS = ('train', 'val', 'valid', 'validation', 'test')  # looked for in a folder
LISTABLE = ('FolderSource', 'ListSource')  # whose images a list can name


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for numbers that are too small."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('what', help='data_root of the images, or a config file')
    parser.add_argument('--split', nargs='*', help='of a data_root; default: those there are')
    parser.add_argument('--source', help='of a data_root: how it is stored, such as ZipSource')
    parser.add_argument(
        '--source-options', nargs='+', action=OptionAction, default={}, help='key=value'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    parser.add_argument('--channels', type=int, help='of images that are not RGB of 8 bits')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'))
    parser.add_argument(
        '--distance', type=int, default=4, help='bits of 64 in which near duplicates may differ'
    )
    parser.add_argument('--pretrained', help='name of a model, or config, for features')
    parser.add_argument('--weights', help="of it: file, address, model name, or 'random'")
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/data'), help='folder to write')
    parser.add_argument('--clean', type=Path, help='write a list of the first set without them')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_args(argv)
    at_least('--workers', args.workers)
    at_least('--distance', args.distance, smallest=0)
    return args


def data_sets(args: argparse.Namespace) -> tuple[dict[str, ImageDataset], LoadImage]:
    """Return the data sets to look at, by name, and what reads their images.

    Raises UserError where there is no such config file or folder.
    """
    remote = '://' in args.what
    if not remote and not Path(args.what).exists():
        raise UserError(f'{args.what}: no such config file or folder', key='file', value=args.what)
    if args.what.endswith('.py'):
        return _of_config(args)
    load = LoadImage(channels=args.channels, value_range=args.value_range)
    source = dict(args.source_options, type=args.source) if args.source else None
    splits = args.split
    if splits is None:
        there = [name for name in SPLITS if (Path(args.what) / name).is_dir()]
        splits = there if there and source is None and not remote else ['']
    names = {split or Path(args.what).name or 'data': split for split in splits}
    return {
        name: ImageDataset(args.what, split, source=source) for name, split in names.items()
    }, load


def _of_config(args: argparse.Namespace) -> tuple[dict[str, ImageDataset], LoadImage]:
    cfg = load_config(args.what, args.cfg_options)
    built: dict[str, Any] = {}
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) and dict(cfg[name].dataset) not in [d for d, _ in built.values()]:
            built[name] = dict(cfg[name].dataset), DATASETS.build(cfg[name].dataset)
    images = {name: dataset for name, (_, dataset) in built.items()}
    return images, reader(step for dataset in images.values() for step in dataset.transforms)


def log_of(args: argparse.Namespace, name: str) -> Path:
    """Return the file of what was measured of a set; it is there until the page is written."""
    folder: Path = args.out
    return folder / 'measured' / f'{name}.jsonl'


def measure_all(
    args: argparse.Namespace, images: dict[str, ImageDataset], load: LoadImage
) -> dict[str, Measurements]:
    """Measure the images of all sets, with a bar; print unreadable ones as they come."""
    found = {}
    for name, dataset in images.items():
        with Progress(console=Console(stderr=True), disable=args.quiet) as bar:
            task = bar.add_task(name, total=len(dataset))

            def progress(count: int, reports: list[str], task: Any = task, bar: Any = bar) -> None:
                for report in reports:
                    print(escaped(report))
                bar.advance(task, count)

            log = log_of(args, name)
            found[name] = measure(dataset, load, log, args.workers, progress)
        bad = len(found[name].unreadable)
        print(f'data: {name}: {bad} of {len(dataset)} cannot be used')
    return found


def write_clean(report: Report, path: Path) -> str:
    """Write the list of the first set without what is wrong, and say how to train on it.

    Raises UserError where a list cannot name the images.
    """
    name, images = next(iter(report.images.items()))
    kind = type(images.source).__name__
    if kind not in LISTABLE:
        raise UserError(
            f'--clean {path}: a list names files, and {name} is read by {kind}; write a folder by '
            'pack_dataset.py --to folder first',
            key='--clean',
            value=str(path),
        )
    lines = ''.join(f'{line}\n' for line in clean_list(report))
    with atomic_path(path) as beside:
        beside.write_bytes(os.fsencode(lines))
    gone = len(left_out(report))
    return (
        f'{path}: {len(images) - gone} images of {name}, without {gone}; train on them by '
        f'--cfg-options train_dataloader.dataset.ann_file={path.resolve()}'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write page and JSON, and exit with 1 when there are unreadable images.

    Raises UserError where there is no such config file or folder.
    """
    args = parse(argv)
    images, load = data_sets(args)
    measured = measure_all(args, images, load)
    confirm, far = None, []
    if args.pretrained:
        model = model_with_weights(args.pretrained, args.weights, args.device)
        rows, indices = features.extract_all(model, images, 64, args.workers)
        far = features.outliers(rows, indices)
        confirm = features.Alike(rows, indices)
    channels = (load.channels, load.value_range)
    report = summarise(args.what, images, measured, channels, args.distance, confirm, far)
    atomic_write(args.out / 'data.json', json.dumps(to_json(report), indent=1) + '\n')
    atomic_write(args.out / 'index.html', data_page(report, load))
    for name in images:  # another run shall see what was repaired since
        log_of(args, name).unlink()
    for finding in report.findings:
        print(f'data: {finding.title}: {finding.count}')
    print(f'data: {args.out / "index.html"}, {args.out / "data.json"}')
    if args.clean:
        print('data:', write_clean(report, args.clean))
    if report.unreadable():
        sys.exit(1)
