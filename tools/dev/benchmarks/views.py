"""Images per second and core that become views: ours, our exact mode, and torchvision's pipeline.

All three read the same JPEG files from disk and hand over batches as training would; torchvision's
normalises in the worker, as the official codes do, ours leaves that to the device. One table, and
the ratios of the same run.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision import transforms as T

from mmssl.cli.options import run_tool, select_by_prefix
from mmssl.datasets import ImageDataset

BYOL = dict(jitter=(0.4, 0.4, 0.2, 0.1))
LARGE = dict(interpolation='bicubic', **BYOL)
SWAV = dict(jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5)
RECIPES: dict[str, list[dict[str, Any]]] = {
    'MoCo v3, 2x224': [dict(BYOL, blur=1.0), dict(BYOL, blur=0.1, solarize=0.2)],
    'EsViT, 2x224 + 8x96': [
        dict(LARGE, scale=(0.4, 1.0), blur=1.0),
        dict(LARGE, scale=(0.4, 1.0), blur=0.1, solarize=0.2),
        dict(LARGE, size=96, scale=(0.05, 0.4), blur=0.5, repeat=8),
    ],
    'SwAV, 2x224 + 6x96': [
        dict(SWAV, scale=(0.14, 1.0), repeat=2),
        dict(SWAV, size=96, scale=(0.05, 0.14), repeat=6),
    ],
    'SERE, 2x224 + 10x96': [
        dict(LARGE, scale=(0.4, 1.0), blur=1.0),
        dict(LARGE, scale=(0.4, 1.0), blur=0.1, solarize=0.2),
        dict(LARGE, size=96, scale=(0.05, 0.4), blur=0.5, repeat=10),
    ],
    'CIFAR, 2x32': [dict(BYOL, size=32, scale=(0.2, 1.0), repeat=2)],
}
SMALL = 32  # pixels; recipes without a larger view read small PNG files
NORMALIZE = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Blur:
    """Pillow's Gaussian blur as the official codes call it."""

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def official(view: dict[str, Any]) -> T.Compose:
    """Return torchvision's transform of a view."""
    size = view.get('size', 224)
    kind = T.InterpolationMode(view.get('interpolation', 'bilinear'))
    return T.Compose([
        T.RandomResizedCrop(size, view.get('scale', (0.08, 1.0)), interpolation=kind),
        T.RandomApply([T.ColorJitter(*view['jitter'])], p=0.8),
        T.RandomGrayscale(p=0.2),
        T.RandomApply([Blur()], p=view.get('blur', 0.0)),
        T.RandomApply([ImageOps.solarize], p=view.get('solarize', 0.0)),
        T.RandomHorizontalFlip(),
        T.ToTensor(),
        NORMALIZE,
    ])  # fmt: skip


class Torchvision(torch.utils.data.Dataset):
    """What an official code's ImageDataset with several transforms does."""

    def __init__(self, root: Path, views: list[dict[str, Any]]) -> None:
        self.paths = sorted(root.iterdir())
        self.transforms = [official(v) for v in views for _ in range(v.get('repeat', 1))]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> list[torch.Tensor]:
        with open(self.paths[i], 'rb') as file:
            image = Image.open(file).convert('RGB')
        return [transform(image) for transform in self.transforms]


def ours(pixels: str) -> Callable[[Path, list[dict[str, Any]]], Any]:
    """Return a maker of our data set in one of its modes."""

    def make(root: Path, views: list[dict[str, Any]]) -> ImageDataset:
        multi = dict(type='MultiView', pixels=pixels)
        multi['views'] = [dict(v, type='RandomView') for v in views]
        return ImageDataset(str(root), pipeline=[dict(type='LoadImage'), multi])

    return make


KINDS = {'torchvision': Torchvision, 'exact': ours('exact'), 'fast': ours('fast')}


def draw(root: Path, count: int, size: tuple[int, int], ending: str) -> Path:
    """Write pictures with the spectrum of photographs: noise of every scale."""
    root.mkdir()
    for i in range(count):
        rng, total = np.random.default_rng(i), np.zeros((size[1], size[0], 3), np.float32)
        for side, strength in ((4, 60), (12, 30), (40, 15), (120, 8), (360, 4)):
            noise = rng.normal(0, strength, (side, side, 3)).astype(np.float32)
            total += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
        image = Image.fromarray((128 + total).clip(0, 255).astype(np.uint8))
        image.save(root / f'{i:04d}.{ending}', quality=87)
    return root


def measure(dataset: Any, workers: int, images: int, batch: int) -> float:
    """Return images per second of a loader, after a first batch of every worker."""
    indices = [i % len(dataset) for i in range(images + batch * max(1, workers))]
    cut = torch.utils.data.Subset(dataset, indices)
    loader = iter(DataLoader(cut, batch, num_workers=workers))
    for _ in range(max(1, workers)):
        next(loader)
    begin = time.perf_counter()
    count = sum(1 for _ in loader)
    return count * batch / (time.perf_counter() - begin)


def memory(pid: int) -> float:
    """Return the memory of a process that no other shares, MiB."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith('Private')) / 1024


def weigh(dataset: Any, batch: int) -> float:
    """Return the private memory of one worker after some batches, MiB; nan where unknown."""
    loader = iter(DataLoader(dataset, batch, num_workers=1))
    for _ in range(3):
        next(loader)
    try:
        return memory(loader._workers[0].pid)
    except OSError:
        return float('nan')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=192, help='per measurement; default 192')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--workers', type=int, nargs='+', default=[1])
    parser.add_argument('--rounds', type=int, default=3, help='medians of so many; default 3')
    parser.add_argument('--recipes', nargs='+', default=list(RECIPES), help='beginnings of names')
    parser.add_argument('--size', type=int, nargs=2, default=(480, 360), help='of the JPEG files')
    args = parser.parse_args(argv)
    args.recipes = select_by_prefix('--recipes', args.recipes, RECIPES)
    return args


def compare(args: argparse.Namespace, name: str, root: Path, workers: int) -> list[str]:
    """Return the cells of a recipe: rates per core, ratios, memory per worker."""
    views = RECIPES[name]
    many = sum(v.get('repeat', 1) for v in views)
    sets = {kind: make(root, views) for kind, make in KINDS.items()}
    images = max(args.batch, args.images * 2 // many)
    rounds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(args.rounds):  # in turn: what slows the machine slows all of them
        for kind, dataset in sets.items():
            rounds[kind].append(measure(dataset, workers, images, args.batch) / workers)
    rate = {kind: statistics.median(values) for kind, values in rounds.items()}
    ratios = [
        statistics.median(a / b for a, b in zip(rounds[kind], rounds['torchvision'], strict=True))
        for kind in ('exact', 'fast')
    ]
    return [
        name,
        str(workers),
        *(f'{rate[kind]:.0f}' for kind in KINDS),
        *(f'{ratio:.2f}' for ratio in ratios),
        f'{1000 / rate["fast"] / many:.2f}',
        *(f'{weigh(sets[kind], args.batch):.0f}' for kind in ('torchvision', 'fast')),
    ]


COLUMNS = (
    *('recipe', 'workers', 'torchvision', 'exact', 'fast', 'exact/tv', 'fast/tv', 'ms/view, fast'),
    *('MiB/worker, tv', 'MiB/worker, fast'),
)


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    args = parse(argv)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    table = Table(*COLUMNS, title='images per second and core')
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        large = draw(Path(folder) / 'large', 64, tuple(args.size), 'jpg')
        small = draw(Path(folder) / 'small', 64, (SMALL, SMALL), 'png')
        for name in args.recipes:
            views = RECIPES[name]
            root = small if all(v.get('size', 224) <= SMALL for v in views) else large
            for workers in args.workers:
                rows.append(compare(args, name, root, workers))
                table.add_row(*rows[-1])
    console = Console(width=150)
    console.print(table)
    versions = f'torch {torch.__version__}, OpenCV {cv2.__version__}'
    console.print(f'{args.size[0]} x {args.size[1]} px JPEG, {args.rounds} rounds; {versions}')
    return rows


if __name__ == '__main__':
    run_tool(main)
