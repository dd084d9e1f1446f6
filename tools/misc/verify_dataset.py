"""Read and decode every image of a config or a folder; name those that cannot be used.

    python tools/misc/verify_dataset.py configs/mocov3/CONFIG.py --cfg-options data_root=DIR
    python tools/misc/verify_dataset.py DIR --split train --source TsvSource

What this finds is what training would replace. The exit status is 1 when there is any.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import Progress

from mmssl.apis import cli, load_config
from mmssl.core import UserError
from mmssl.datasets import ImageSet
from mmssl.datasets.sources import UnreadableImage
from mmssl.datasets.transforms import LoadImage
from mmssl.registry import DATASETS

CHUNK = 64  # images a worker takes at once

_images: ImageSet  # a worker's own


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('what', type=Path, help='config file, or data_root of the images')
    parser.add_argument('--split', default='', help='of a data_root; default none')
    parser.add_argument('--source', help='of a data_root: how it is stored, such as ZipSource')
    parser.add_argument('--cfg-options', nargs='+', action=cli.OptionAction, default={})
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--out', type=Path, help='write the list to this file as well')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    return parser.parse_args(argv)


def sets(args: argparse.Namespace) -> dict[str, ImageSet]:
    """Return the data sets to look at, by name."""
    if args.what.suffix != '.py':
        source = dict(type=args.source) if args.source else None
        return {args.split or str(args.what): ImageSet(str(args.what), args.split, source)}
    cfg = load_config(args.what, args.cfg_options)
    found = {}
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if cfg.get(name) and dict(cfg[name].dataset) not in [d for d, _ in found.values()]:
            found[name] = dict(cfg[name].dataset), DATASETS.build(cfg[name].dataset)
    return {name: images for name, (_, images) in found.items()}


def chunks(images: ImageSet) -> list[range]:
    """Cut the indices into runs: shards whole, as they are read from their beginning."""
    lengths: Sequence[int] = images.source.shards if images.locality == 'shard' else ()
    ends = [*range(CHUNK, len(images), CHUNK), len(images)]
    if lengths:
        ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [range(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def begin(images: ImageSet) -> None:
    """Give a worker its data set."""
    global _images
    _images = images
    cv2.setNumThreads(0)


def look(run: range) -> tuple[int, list[str]]:
    """Return how many images were looked at, and what is wrong with which."""
    load = next((t for t in _images.transforms if isinstance(t, LoadImage)), LoadImage())
    faults = []
    for i in run:
        try:
            load(dict(path=_images.name(i), bytes=_images.read(i)))['image'].pixels()
        except UnreadableImage as error:
            faults.append(str(error))
    return len(run), faults


def verify(images: ImageSet, workers: int) -> Iterator[tuple[int, list[str]]]:
    """Yield what `look` says of every run, as it comes."""
    if workers <= 1:
        begin(images)
        yield from map(look, chunks(images))
        return
    with Pool(workers, begin, (images,)) as pool:
        yield from pool.imap(look, chunks(images))


def main(argv: Sequence[str] | None = None) -> None:
    """Look at everything, print the list, and exit with 1 when there is one."""
    args = parse(argv)
    if not args.what.exists():
        raise UserError(f'{args.what}: no such config file or folder')
    bad: list[str] = []
    for name, images in sets(args).items():
        count = len(bad)
        with Progress(console=Console(stderr=True), disable=args.quiet) as bar:
            task = bar.add_task(name, total=len(images))
            for seen, faults in verify(images, args.workers):
                for fault in faults:
                    print(fault)
                bad += faults
                bar.advance(task, seen)
        print(f'verify_dataset: {name}: {len(bad) - count} of {len(images)} cannot be used')
    if args.out:
        args.out.write_text(''.join(f'{fault}\n' for fault in bad))
    if bad:
        sys.exit(1)


if __name__ == '__main__':
    cli.run(main)
