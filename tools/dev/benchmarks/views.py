"""Images per second and core that become views: ours, our exact mode, and torchvision's pipeline.

All three read the same JPEG files from disk and hand over batches as training would; torchvision's
normalises in the worker, as the official codes do, ours leaves that to the device.
"""

import itertools
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch.utils.benchmark import timer
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from mmssl.apis import load_config
from mmssl.cli.subprocess_tools import REPO
from mmssl.datasets import ImageDataset

from .timing import Builders, Comparison, Taken, counted, spread

RECIPES = {
    'MoCo v3, 2x224': 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py',
    'EsViT, 2x224 + 8x96': 'esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py',
    'SwAV, 2x224 + 6x96': 'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py',
    'SERE, 2x224 + 10x96': 'sere/sere_vit-small-p16_8xb128-amp-mcrop-coslr-100e_in1k.py',
    'CIFAR, 2x32': 'cifar10/mocov3_resnet18_1xb512-coslr-200e_cifar10.py',
}
SMALL = 32  # pixels; recipes without a larger view read small PNG files
NORMALIZE = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def blur(image: Image.Image) -> Image.Image:
    """Pillow's Gaussian blur as the official codes call it."""
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def official(view: dict[str, Any]) -> T.Compose:
    """Return torchvision's transform of a view."""
    size = view.get('size', 224)
    kind = T.InterpolationMode(view.get('interpolation', 'bilinear'))
    return T.Compose([
        T.RandomResizedCrop(size, view.get('scale', (0.08, 1.0)), interpolation=kind),
        T.RandomApply([T.ColorJitter(*view['jitter'])], p=0.8),
        T.RandomGrayscale(p=0.2),
        T.RandomApply([blur], p=view.get('blur', 0.0)),
        T.RandomApply([ImageOps.solarize], p=view.get('solarize', 0.0)),
        T.RandomHorizontalFlip(),
        T.ToTensor(),
        NORMALIZE,
    ])  # fmt: skip


def torchvision(root: Path, views: list[dict[str, Any]]) -> ImageFolder:
    """Return what an official code's data set with several transforms is."""
    transforms = [official(v) for v in views for _ in range(v.get('repeat', 1))]
    return ImageFolder(root, lambda image: [transform(image) for transform in transforms])


def ours(pixels: str) -> Callable[[Path, list[dict[str, Any]]], Any]:
    """Return a maker of our data set in one of its modes."""

    def make(root: Path, views: list[dict[str, Any]]) -> ImageDataset:
        multi = dict(type='MultiView', views=views, pixels=pixels)
        return ImageDataset(str(root), pipeline=[dict(type='LoadImage'), multi])

    return make


KINDS = {'torchvision': torchvision, 'exact': ours('exact'), 'fast': ours('fast')}


def draw(root: Path, count: int, size: tuple[int, ...], ending: str) -> Path:
    """Write pictures with the spectrum of photographs: noise of every scale."""
    folder = root / 'class'
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        rng, total = np.random.default_rng(i), np.zeros((size[1], size[0], 3), np.float32)
        for side, strength in ((4, 60), (12, 30), (40, 15), (120, 8), (360, 4)):
            noise = rng.normal(0, strength, (side, side, 3)).astype(np.float32)
            total += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
        image = Image.fromarray((128 + total).clip(0, 255).astype(np.uint8))
        image.save(folder / f'{i:04d}.{ending}', quality=87)
    return root


def rate(dataset: Any, workers: int, images: int, batch: int) -> float:
    """Return images per second and core of a loader, after a first batch of every worker."""
    indices = [i % len(dataset) for i in range(images + batch * max(1, workers))]
    cut = torch.utils.data.Subset(dataset, indices)
    loader = iter(DataLoader(cut, batch, num_workers=workers))
    for _ in range(max(1, workers)):
        next(loader)
    begin = timer()
    count = sum(1 for _ in loader)
    return count * batch / (timer() - begin) / max(1, workers)


def weigh(dataset: Any, batch: int) -> float:
    """Return MiB that one worker shares with no process after some batches; nan where unknown."""
    loader = iter(DataLoader(dataset, batch, num_workers=1))
    for _ in range(3):
        next(loader)
    try:
        text = Path(f'/proc/{loader._workers[0].pid}/smaps_rollup').read_text()
    except OSError:
        return float('nan')
    private = [line.split()[1] for line in text.splitlines() if line.startswith('Private')]
    return sum(map(int, private)) / 1024


def views_of(recipe: str) -> list[dict[str, Any]]:
    """Return the views of a recipe's config."""
    cfg = load_config(REPO / 'configs' / RECIPES[recipe])
    return cfg.train_dataloader.dataset.pipeline[1]['views']


def comparisons(
    images: int = 192,
    batch: int = 16,
    workers: tuple[int, ...] = (1,),
    size: tuple[int, ...] = (480, 360),
) -> Builders:
    """One of each recipe and number of workers; ``size`` is that of the JPEG files."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

    def pipelines(recipe: str, workers: int, scratch: Path) -> Comparison:
        views = views_of(recipe)
        many = sum(v.get('repeat', 1) for v in views)
        small = all(v['size'] <= SMALL for v in views)
        pixels, ending = ((SMALL, SMALL), 'png') if small else (size, 'jpg')
        root = draw(scratch / ending, 64, pixels, ending)
        sets = {kind: make(root, views) for kind, make in KINDS.items()}
        count = max(batch, images * 2 // many)

        def facts(kind: str, taken: Taken) -> dict[str, float]:
            middle = spread(taken[kind])['median']
            return {'ms/view': 1000 / middle / many, 'MiB/worker': weigh(sets[kind], batch)}

        return Comparison(
            {kind: partial(rate, made, workers, count, batch) for kind, made in sets.items()},
            ['torchvision'],
            unit='images/s and core',
            measure=counted,
            facts=facts,
        )

    return {
        f'{recipe}, workers {number}': partial(pipelines, recipe, number)
        for recipe, number in itertools.product(RECIPES, workers)
    }
