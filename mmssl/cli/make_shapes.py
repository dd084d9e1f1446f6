"""Make the example data: textured shapes in class folders, and scenes with boxes and masks.

OUT/{train,val}/CLASS/00000.png                 one object each (pretraining, kNN, linear)
OUT/scenes/images/{train,val}/00000.png         several objects (with --scenes)
OUT/scenes/annotations/instances_{train,val}.json   COCO: boxes xywh in pixels, uncompressed RLE
OUT/scenes/labels/{train,val}/00000.png         0 background, 1..8 the classes; 255 never occurs

Decoded pixels and JSON are the same on every machine; the bytes of a PNG file need not be, they
depend on the zlib at hand. What an earlier run with the same arguments finished is kept.
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..core import UserError
from ..core.io import atomic_write
from ..datasets.shapes import CLASSES, SPLITS, VERSION, draw_object, draw_scene

FOLDERS = dict(classification=SPLITS, scenes=('images', 'annotations', 'labels'))
SMALLEST = dict(classification=16, scenes=48)  # pixels; below, textures cannot be seen


def _files(root: Path, kind: str) -> int:
    """Count what is in the folders that a kind of data owns."""
    return sum(p.is_file() for folder in FOLDERS[kind] for p in (root / folder).rglob('*'))


def _read(file: Path) -> dict[str, Any]:
    """Read a manifest; {} when there is none of ours."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get('generator') == 'mmssl shapes' else {}


def _begin(root: Path, kind: str, arguments: dict[str, int]) -> dict[str, Any] | None:
    """Clear the way and return the manifest to finish with, or None when all is there already.

    Raises UserError for impossible arguments and for a folder that holds something else.
    """
    if arguments['size'] < SMALLEST[kind]:
        raise UserError(
            f'size {arguments["size"]}: at least {SMALLEST[kind]} pixels are needed',
            key='size',
            value=arguments['size'],
        )
    for name, value in arguments.items():
        if value < 0:
            raise UserError(f'{name} is {value}: must not be negative', key=name, value=value)
    if root.exists() and not root.is_dir():
        raise UserError(
            f'{root}: a file, not a folder; choose another place', key='folder', value=str(root)
        )
    manifest = dict(generator='mmssl shapes', version=VERSION, kind=kind, arguments=arguments)
    final = root / 'manifest.json'
    part = root / 'manifest.json.part'
    old = _read(final)
    counts = old.pop('counts', {})
    if old == manifest and counts.get('files') == _files(root, kind):
        return None
    ours = (old or _read(part)).get('kind') == kind
    taken = [name for name in ('manifest.json', *FOLDERS[kind]) if (root / name).exists()]
    if taken and not ours:
        raise UserError(
            f'{root}: holds {", ".join(taken)}, not of this tool; choose another place',
            key='folder',
            value=str(root),
        )
    root.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(manifest) + '\n')  # before anything goes: an interruption shows
    final.unlink(missing_ok=True)
    for folder in FOLDERS[kind]:
        shutil.rmtree(root / folder, ignore_errors=True)
    return manifest


def _finish(root: Path, manifest: dict[str, Any], **counts: int) -> None:
    """Write the manifest, in one step and last; it replaces that of an unfinished run."""
    manifest['counts'] = dict(counts, files=_files(root, manifest['kind']))
    atomic_write(root / 'manifest.json', json.dumps(manifest, indent=2) + '\n')
    (root / 'manifest.json.part').unlink(missing_ok=True)


def _bar(items: Sequence[Any], text: str, progress: bool) -> Iterable[Any]:
    return track(items, text, console=Console(stderr=True), disable=not progress)


def _save(image: NDArray[Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file, compress_level=1)


def write_classification(
    root: Path | str,
    size: int = 48,
    train_per_class: int = 512,
    val_per_class: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> bool:
    """Write class folders; return False when they were there already.

    Image i of class c has the index ``i * len(CLASSES) + c``, so more images extend a set.
    Raises UserError for impossible arguments and for a folder that holds something else.
    """
    root = Path(root)
    counts = dict(train=train_per_class, val=val_per_class)
    arguments = dict(
        size=size, train_per_class=train_per_class, val_per_class=val_per_class, seed=seed
    )
    manifest = _begin(root, 'classification', arguments)
    if manifest is None:
        return False
    total = {split: count * len(CLASSES) for split, count in counts.items()}
    jobs = [(split, index) for split in SPLITS for index in range(total[split])]
    for split, index in _bar(jobs, 'shapes', progress):
        number, label = divmod(index, len(CLASSES))
        image, _ = draw_object(seed, index, label, size, split)
        _save(image, root / split / CLASSES[label] / f'{number:05d}.png')
    _finish(root, manifest, **total)
    return True


def run_lengths(mask: NDArray[Any]) -> list[int]:
    """Lengths of the runs of a mask (H, W) down its columns, zeros first (COCO's RLE)."""
    flat = np.concatenate([[False], mask.T.ravel()])  # (1 + W * H,)
    ends = [*np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1]
    found: list[int] = np.diff(ends, prepend=0).tolist()
    return found


def annotate(mask: NDArray[Any], label: int, image_id: int, number: int) -> dict[str, Any]:
    """COCO annotation of one mask (H, W): box xywh and area in pixels."""
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    x = int(columns[0])
    y = int(rows[0])
    return dict(
        id=number,
        image_id=image_id,
        category_id=label + 1,
        bbox=[x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
        area=int(mask.sum()),
        iscrowd=0,
        segmentation=dict(size=list(mask.shape), counts=run_lengths(mask)),
    )


def write_scenes(
    root: Path | str,
    size: int = 128,
    train: int = 512,
    val: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> bool:
    """Write scenes, COCO annotations and label maps; return False when they were there already.

    Raises UserError for impossible arguments and for a folder that holds something else.
    """
    root = Path(root)
    manifest = _begin(root, 'scenes', dict(size=size, train=train, val=val, seed=seed))
    if manifest is None:
        return False
    objects = 0
    for split, count in dict(train=train, val=val).items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in _bar(range(count), f'{split} scenes', progress):
            name = f'{index:05d}.png'
            image, masks, labels = draw_scene(seed, index, size, split)
            images.append(dict(id=index + 1, file_name=name, width=size, height=size))
            classes = np.zeros((size, size), dtype=np.uint8)
            for mask, label in zip(masks, labels, strict=True):
                annotations.append(annotate(mask, label, index + 1, len(annotations) + 1))
                classes[mask] = label + 1
            _save(image, root / 'images' / split / name)
            _save(classes, root / 'labels' / split / name)
        objects += len(annotations)
        file = root / 'annotations' / f'instances_{split}.json'
        file.parent.mkdir(parents=True, exist_ok=True)
        categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
        coco = dict(images=images, annotations=annotations, categories=categories)
        file.write_text(json.dumps(coco, separators=(',', ':')) + '\n')
    _finish(root, manifest, train=train, val=val, objects=objects)
    return True


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('out', type=Path, help='folder to write')
    parser.add_argument('--size', type=int, default=48, help='pixels; default 48')
    parser.add_argument('--train-per-class', type=int, default=512, help='default 512')
    parser.add_argument('--val-per-class', type=int, default=64, help='default 64')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--scenes', type=int, default=0, help='training scenes; default none')
    parser.add_argument('--val-scenes', type=int, help='default: an eighth of --scenes, rounded up')
    parser.add_argument('--scene-size', type=int, default=128, help='pixels; default 128')
    parser.add_argument('--quiet', action='store_true', help='no progress bar')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write what is asked for and not there yet. Raises UserError for what cannot be written."""
    args = parse(argv)
    val = -(-args.scenes // 8) if args.val_scenes is None else args.val_scenes
    said = []
    seed = args.seed
    progress = not args.quiet
    counts = args.train_per_class, args.val_per_class
    try:
        if any(counts):
            new = write_classification(args.out, args.size, *counts, seed, progress)
            train, test = (count * len(CLASSES) for count in counts)
            said.append(f'{"wrote" if new else "reused"} {train} + {test} images in {args.out}')
        if args.scenes or val:
            root = args.out / 'scenes'
            new = write_scenes(root, args.scene_size, args.scenes, val, seed, progress)
            said.append(f'{"wrote" if new else "reused"} {args.scenes} + {val} scenes in {root}')
    except OSError as error:
        raise UserError(
            f'{error.filename}: {error.strerror}', key='file', value=str(error.filename)
        ) from error
    print('make_shapes:', ', '.join(said) or 'nothing to write')
