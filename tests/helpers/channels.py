"""Images of five channels as TIFFs, and their pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .images import make_image

VIEW = dict(type='RandomView', size=16, scale=(0.3, 1.0), jitter=(0.4, 0.4, 0, 0), gray=0)
VIEWS = [dict(VIEW, blur=0.5, sigma=(0.1, 1.0)), dict(VIEW, solarize=0.3)]
MULTI = dict(type='MultiView', views=VIEWS)


def pixels(channels: int, seed: int = 0, size: tuple[int, int] = (24, 20)) -> NDArray[Any]:
    """Return an image (H, W, channels) of uint16, below 4096."""
    images = [make_image(size, seed + 31 * i) for i in range(-(-channels // 3))]
    values = np.concatenate([np.asarray(image) for image in images], 2)[..., :channels]
    found: NDArray[Any] = values.astype(np.uint16) * 16
    return found


def write_folder(root: Path, channels: int, classes: int = 2, each: int = 6) -> Path:
    """Write class folders ``train`` and ``val`` of TIFFs of 12 bits in 16; return the root."""
    for split in ('train', 'val'):
        for label in range(classes):
            folder = root / split / f'c{label}'
            folder.mkdir(parents=True)
            for i in range(each):
                values = pixels(channels, 100 * label + i + 50 * (split == 'val'))
                values[..., -1] //= 1 + label
                planar: dict[str, Any] = dict(planarconfig='contig') if channels > 1 else {}
                tifffile.imwrite(folder / f'{i}.tif', values, photometric='minisblack', **planar)
    return root
