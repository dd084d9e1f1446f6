"""A small set in the layout of ImageNet-S: every image half one class, half 'other'."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .images import make_image

COLOURS = {'n01': (40, 60, 200), 'n02': (60, 190, 70), 'n03': (210, 50, 40)}


def encode(classes: NDArray[Any]) -> Image.Image:
    """Return the PNG's image of a mask (H, W): class = R + 256 G."""
    colours = np.zeros((*classes.shape, 3), np.uint8)
    colours[..., 0], colours[..., 1] = classes % 256, classes // 256
    return Image.fromarray(colours)


def write(root: Path, count: int = 4) -> Path:
    """Write train-semi and validation with ``count`` images a class; return the root."""
    for split in ('train-semi', 'validation'):
        for label, (wnid, colour) in enumerate(COLOURS.items(), 1):
            for part in (split, f'{split}-segmentation'):
                (root / part / wnid).mkdir(parents=True)
            for i in range(count):
                width, height = 30 + 7 * i, 24 + 3 * label
                pixels = np.asarray(make_image((width, height), 10 * label + i)).copy()
                classes = np.zeros((height, width), np.int64)
                pixels[:, width // 2 :], classes[:, width // 2 :] = colour, label
                classes[:2] = 1000
                name = f'{wnid}_{i}'
                Image.fromarray(pixels).save(root / split / wnid / f'{name}.JPEG')
                encode(classes).save(root / f'{split}-segmentation' / wnid / f'{name}.png')
    return root
