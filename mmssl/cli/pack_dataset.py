r"""Pack images as zip, TSV, WebDataset, LMDB, Parquet or class folders, and read them back.

    python tools/dataset_tools/pack_dataset.py data/imagenet packed --to tsv --split train
    python tools/dataset_tools/pack_dataset.py data packed --to folder --source TorchvisionSource \
        --source-options name=CIFAR10
    python tools/dataset_tools/pack_dataset.py --index train.tsv      # or shards: a-*.tar

Files are copied as they are, in the order of their source, so that an image has the same number
in every format and becomes the same views; those of a folder are in the order of their names.
"""

import argparse
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from ..core import UserError
from ..core.errors import escaped
from ..datasets import ImageDataset
from ..datasets.packing import FORMATS, file_of
from ..datasets.sources.shards import count_shard, write_shard_index
from ..datasets.sources.tsv import write_index
from .options import OptionAction


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('root', nargs='?', help='data_root of the images')
    parser.add_argument('out', nargs='?', type=Path, help='folder to write (LMDB: the data base)')
    parser.add_argument('--to', choices=FORMATS, help='format to write')
    parser.add_argument('--split', default='train')
    parser.add_argument('--source', help='how the images are stored, such as ZipSource')
    parser.add_argument(
        '--source-options', nargs='+', action=OptionAction, default={}, help='key=value'
    )
    parser.add_argument('--per-file', type=int, default=0, help='images per TSV file or shard')
    parser.add_argument('--no-verify', action='store_true', help='do not read the copy back')
    parser.add_argument('--index', nargs='+', type=Path, help='index these TSV files or shards')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    args = parser.parse_args(argv)
    if not args.index and not (args.root and args.out and args.to):
        parser.error('give a root, a folder to write and --to, or --index')
    return args


def _bar(items: Any, text: str, quiet: bool) -> Iterable[Any]:
    return track(items, text, console=Console(stderr=True), disable=quiet)


def index(files: Sequence[Path]) -> str:
    """Write the index of TSV files, or one for all given shards."""
    tsv = [file for file in files if file.suffix == '.tsv']
    for file in tsv:
        write_index(file)
    shards = sorted(set(files) - set(tsv))
    if not shards:
        return f'indexed {len(tsv)} TSV files'
    entries = [count_shard(file) for file in shards]
    path = shards[0].with_name(f'{shards[0].stem.rpartition("-")[0] or shards[0].stem}.json')
    write_shard_index(path, entries)
    return f'indexed {sum(e["nsamples"] for e in entries)} samples of {len(shards)} shards: {path}'


def pack(args: argparse.Namespace) -> str:
    """Write the copy, read it back, and say what was done. Raises UserError where they differ."""
    source = dict(args.source_options, type=args.source) if args.source else None
    images = ImageDataset(args.root, args.split, source=source)
    writer = FORMATS[args.to](args.out, args.split, args.per_file)
    sums = []
    keys = []
    labels = images.labels or [None] * len(images)
    for i in _bar(range(len(images)), f'writing {args.to}', args.quiet):
        content = images.read(i)
        key, content = file_of(images.source.key(i), content)
        _check_key(key, args.to)
        writer.add(key, labels[i], content)
        keys.append(key)
        sums.append(hashlib.sha256(content).digest())
    writer.close()
    said = f'wrote {images.describe()} to {args.out} as {args.to}'
    if args.no_verify:
        return said
    root = f'lmdb://{args.out}' if args.to == 'lmdb' else str(args.out)
    copy = ImageDataset(root, args.split, source=dict(type=writer.reader))
    places = _places(copy, keys) if args.to == 'folder' else [*range(len(copy))]
    if len(places) != len(images) or not _same_classes(images.labels, copy.labels, places):
        raise UserError(
            f'{args.out}: {copy.describe()} are read back; pack again',
            key='folder',
            value=str(args.out),
        )
    for place, expected in zip(_bar(places, 'reading back', args.quiet), sums, strict=True):
        if hashlib.sha256(copy.read(place)).digest() != expected:
            raise UserError(
                f'{copy.name(place)}: reads back with other bytes; pack again',
                key='file',
                value=copy.name(place),
            )
    return f'{said}; all read back the same'


def _places(copy: ImageDataset, keys: list[str]) -> list[int]:
    """Return the place in a copy of each key; a folder's images are in the order of their names."""
    place = {copy.source.key(i): i for i in range(len(copy))}
    return [place[key] for key in keys if key in place]


def _same_classes(labels: list[int], copied: list[int], places: list[int]) -> bool:
    """Whether images of one class are those of one class of the copy; folders number by name."""
    if not copied or not labels:
        return copied == labels
    pairs = {(label, copied[place]) for label, place in zip(labels, places, strict=True)}
    return len(pairs) == len(set(labels)) == len(set(copied))


def _check_key(key: str, form: str) -> None:
    """Check that a name can be written. Raises UserError for bytes that are not UTF-8."""
    if form != 'folder' and key != key.encode(errors='replace').decode():
        raise UserError(
            f'{escaped(key)}: a key must be UTF-8 to be written as {form}; rename the image',
            key='key',
            value=key,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Pack, or index what is packed. Raises UserError for files that cannot be read or written."""
    args = parse(argv)
    try:
        print('pack_dataset:', index(args.index) if args.index else pack(args))
    except OSError as error:
        raise UserError(
            f'{error.filename}: {error.strerror}', key='file', value=str(error.filename)
        ) from error
