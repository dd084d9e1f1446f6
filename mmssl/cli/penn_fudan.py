"""Make COCO's lists of the Penn-Fudan pedestrians (https://www.cis.upenn.edu/~jshi/ped_html/).

SOURCE is PennFudanPed.zip as downloaded, or the folder that is in it.

OUT/images/FudanPed00001.png            170 photographs
OUT/train.json, val.json                120 and 50 of them: boxes xywh in pixels, RLE masks

Every photograph belongs to train or val by the hash of its name, the same on every machine.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core import UserError
from ..datasets.image_formats import opened
from ..datasets.sources.what_is_data import is_data
from .make_shapes import annotate
from .source_options import find

SHARE = 50 / 170  # of the photographs, for validation
ADDRESS = 'https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip'


def split(names: list[str]) -> dict[str, list[str]]:
    """Order names by their hash; the first ones validate."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = round(SHARE * len(names))
    return {'train': sorted(order[count:]), 'val': sorted(order[:count])}


def read_image(file: Any) -> Image.Image:
    """Read an image whole. Raises UserError naming one that is missing or damaged."""
    try:
        if not file.is_file():
            raise ValueError('no such file')
        with opened(file.read_bytes()) as image:
            return image.copy()
    except (OSError, ValueError) as error:
        raise UserError(
            f'{file}: {error}; download {ADDRESS} again', key='file', value=str(file)
        ) from None


def convert(folder: Any, out: Path) -> dict[str, int]:
    """Write photographs and lists; return how many people each list has.

    Raises UserError for missing or damaged images.
    """
    names = [file.name for file in folder.joinpath('PNGImages').iterdir()]
    names = [Path(name).stem for name in names if name.endswith('.png') and is_data(name)]
    (out / 'images').mkdir(parents=True, exist_ok=True)
    people = {}
    for part, members in split(names).items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, name in enumerate(members, 1):
            image = read_image(folder / 'PNGImages' / f'{name}.png').convert('RGB')
            image.save(out / 'images' / f'{name}.png')
            width, height = image.size
            images.append(dict(id=number, file_name=f'{name}.png', width=width, height=height))
            labels = np.asarray(read_image(folder / 'PedMasks' / f'{name}_mask.png'))
            for value in np.unique(labels[labels > 0]):
                annotations.append(annotate(labels == value, 0, number, len(annotations) + 1))
        categories = [dict(id=1, name='person')]
        lists = dict(images=images, annotations=annotations, categories=categories)
        (out / f'{part}.json').write_text(json.dumps(lists) + '\n')
        people[part] = len(annotations)
    return people


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the archive or folder. Raises UserError for missing or damaged files."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('source', type=Path, help='PennFudanPed.zip, or its folder')
    parser.add_argument('out', type=Path, help='folder to write, such as data/pennfudan')
    args = parser.parse_args(argv)
    folder = find(args.source, 'PennFudanPed', ('PNGImages', 'PedMasks'), ADDRESS)
    people = convert(folder, args.out)
    print(f'{args.out}: {people["train"]} people to train on, {people["val"]} to validate with')
