"""Read and decode every image of a config or a folder; name those that cannot be used.

    python verify_dataset.py configs/mocov3/CONFIG.py --cfg-options data_root=DIR
    python verify_dataset.py DIR --split train --source TsvSource

What this finds is what training would replace. The exit status is 1 when there is any.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import Progress

from ..apis import load_config
from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.sources import UnreadableImage
from ..datasets.transforms.load_image import LoadImage, reader
from ..registry import DATASETS
from .options import OptionAction

CHUNK = 64  # images a worker takes at once

_images: ImageDataset  # a worker's own
_load: LoadImage


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('what', type=Path, help='config file, or data_root of the images')
    parser.add_argument('--split', default='', help='of a data_root; default none')
    parser.add_argument('--source', help='of a data_root: how it is stored, such as ZipSource')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--out', type=Path, help='write the list to this file as well')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    return parser.parse_args(argv)


def sets(args: argparse.Namespace) -> dict[str, ImageDataset]:
    """Return the data sets to check, by name."""
    if args.what.suffix != '.py':
        source = dict(type=args.source) if args.source else None
        return {
            args.split or str(args.what): ImageDataset(str(args.what), args.split, source=source)
        }
    cfg = load_config(args.what, args.cfg_options)
    built: dict[str, Any] = {}
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) and dict(cfg[name].dataset) not in [d for d, _ in built.values()]:
            built[name] = dict(cfg[name].dataset), DATASETS.build(cfg[name].dataset)
    return {name: images for name, (_, images) in built.items()}


def chunks(images: ImageDataset) -> list[range]:
    """Cut the indices into runs: shards whole, as they are read from their beginning."""
    if images.locality == 'shard':
        ends = [int(end) for end in images.source.ends]
    else:
        ends = [*range(CHUNK, len(images), CHUNK), len(images)]
    begins = [0, *ends[:-1]]
    return [range(begin, end) for begin, end in zip(begins, ends, strict=True)]


def start_worker(images: ImageDataset, load: LoadImage) -> None:
    """Give a worker its data set and the transform that reads an image."""
    global _images, _load
    _images = images
    _load = load
    cv2.setNumThreads(0)


def check_run(run: range) -> tuple[int, list[str]]:
    """Return how many images of a run were decoded, and reports of those that could not be."""
    reports = []
    for i in run:
        try:
            _load(dict(path=_images.name(i), bytes=_images.read(i)))['image'].pixels()
        except UnreadableImage as error:
            reports.append(str(error))
    return len(run), reports


def verify(images: ImageDataset, workers: int) -> Iterator[tuple[int, list[str]]]:
    """Yield what `check_run` returns for every run, as it comes."""
    load = reader(images.transforms)
    if workers <= 1:
        start_worker(images, load)
        yield from map(check_run, chunks(images))
        return
    with Pool(workers, start_worker, (images, load)) as pool:
        yield from pool.imap(check_run, chunks(images))


def main(argv: Sequence[str] | None = None) -> None:
    """Check every image, print the list of unreadable ones, and exit with 1 when there is one.

    Raises UserError where there is no such config file or folder.
    """
    args = parse(argv)
    if not args.what.exists():
        raise UserError(
            f'{args.what}: no such config file or folder', key='file', value=str(args.what)
        )
    bad: list[str] = []
    for name, images in sets(args).items():
        count = len(bad)
        with Progress(console=Console(stderr=True), disable=args.quiet) as bar:
            task = bar.add_task(name, total=len(images))
            for seen, reports in verify(images, args.workers):
                for report in reports:
                    print(report)
                bad += reports
                bar.advance(task, seen)
        print(f'verify_dataset: {name}: {len(bad) - count} of {len(images)} cannot be used')
    if args.out:
        args.out.write_text(''.join(f'{report}\n' for report in bad), 'utf-8')
    if bad:
        sys.exit(1)
