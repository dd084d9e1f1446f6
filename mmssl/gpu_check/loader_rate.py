"""Images a second of the loader alone, and of the colours that the device applies."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DefaultScope
from PIL import Image

from ..config.load import load_config
from ..core.cores import own_cores
from ..engine import Runner
from ..models.preprocessor import ViewPreprocessor
from .compiling import RECIPES
from .parts import Parts
from .recipes import CONFIGS
from .timing import seconds_each

SIZE = (500, 375)  # of most photographs of ImageNet
DIFFERENT, COPIES = 32, 32
BATCH = 64


def check(parts: Parts) -> None:
    """Read photographs as MoCo v3's recipe does, with colours on the workers or the device."""
    data = write_photographs(parts.folder / 'photographs')
    each = max(1.0, parts.left / 3)
    for pixels in parts.each(('fast', 'device')):
        with parts.part(f'pixels={pixels}') as values:
            values |= rate(data, pixels, parts.device, each, own_cores())


def write_photographs(folder: Path) -> Path:
    """Write JPEG files about as large and as hard to read as ImageNet's; return the folder."""
    rng = np.random.default_rng(0)
    (folder / 'train').mkdir(parents=True)
    for i in range(DIFFERENT):
        coarse = rng.integers(0, 255, (48, 64, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC))
        noisy = pixels + rng.normal(0, 12, pixels.shape)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, 'jpeg', quality=90)
        for copy in range(COPIES):
            (folder / 'train' / f'{i}_{copy}.jpg').write_bytes(file.getvalue())
    return folder


def rate(data: Path, pixels: str, device: str, seconds: float, workers: int) -> dict[str, Any]:
    """Return images a second, counted from the first batch on, and the preprocessor's time."""
    cfg = load_config(
        CONFIGS / next(iter(RECIPES.values())),
        {
            'data_root': str(data),
            'train_dataloader.batch_size': BATCH,
            'train_dataloader.num_workers': workers,
            'train_dataloader.dataset.with_label': False,
            'train_dataloader.dataset.pipeline.1.pixels': pixels,
        },
    )
    with DefaultScope.overwrite_default_scope('mmssl'):
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    count, began = 0, 0.0
    batch = next(iter(loader))
    while not began or time.perf_counter() - began < seconds:
        for _ in loader:
            if not began:
                began = time.perf_counter()
                continue
            count += BATCH
            if time.perf_counter() - began >= seconds:
                break
    found = dict(images_a_second=count / (time.perf_counter() - began), workers=workers)
    preprocessor = ViewPreprocessor().to(device)
    found['preprocessor_ms'] = 1e3 * seconds_each(lambda: preprocessor(batch, True), device)
    return found
