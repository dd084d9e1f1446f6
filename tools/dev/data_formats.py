"""Read a folder of images through every format: are views and losses those of the folder?

    python tools/dev/data_formats.py data/cifar10 --split train [--images 96] [--steps 4]

A part of the images is copied into class folders, or a flat folder, and packed as each format.
Views of two epochs are compared bit by bit, and the losses of a few steps of MoCo v3, which reads
the images in their order. A format whose library is missing is left out and said.
"""

import argparse
import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from quiet_runner import quiet_runner

from mmssl.apis import load_config
from mmssl.cli import pack_dataset
from mmssl.cli.options import run_tool
from mmssl.datasets import ImageDataset
from mmssl.zoo.hub import root

CONFIG = 'cifar10/mocov3_resnet18-w16_1xb128-3e_cifar10.py'
BATCH = 16
PACKED = {
    'zip': 'ZipSource',
    'tsv': 'TsvSource',
    'shards': 'ShardSource',
    'lmdb': 'ListSource',
    'parquet': 'ParquetSource',
}


class Losses(Hook):
    """Keep the loss of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note a loss."""
        self.seen.append(float(outputs['loss'].detach()))


def part_of(data_root: str, split: str, count: int, out: Path) -> ImageDataset:
    """Copy ``count`` images, evenly spaced, below ``out/train``; return them."""
    images = ImageDataset(data_root, split)
    step = max(1, len(images) // count)
    for i in range(0, len(images), step)[:count]:
        path = out / 'train' / images.source.key(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images.name(i), path)
    return ImageDataset(str(out), 'train')


def formats(part: ImageDataset, folder: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Write the copies; return by format the arguments of a data set that reads it."""
    found: dict[str, dict[str, Any]] = {'folder': dict(data_root=str(folder))}
    for form, reader in PACKED.items():
        place = out / form
        pack_dataset.main([str(folder), str(place), '--to', form, '--split', 'train', '--quiet'])
        data_root = f'lmdb://{place}' if form == 'lmdb' else str(place)
        found[form] = dict(data_root=data_root, source=dict(type=reader))
    if part.labels:
        source = dict(type='TorchvisionSource', name='ImageFolder')
        found['torchvision'] = dict(data_root=str(folder), source=source)
    if importlib.util.find_spec('datasets') is None:
        print('hugging face: left out, datasets is not installed')
        return found
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset(
        'imagefolder',
        data_dir=str(folder),
        cache_dir=str(out / 'cache'),
        drop_labels=not part.labels,
    )
    loaded.save_to_disk(str(out / 'arrow'))
    source = dict(type='HuggingFaceSource')
    found['hugging face'] = dict(data_root=str(out / 'arrow'), source=source)
    return found


def views(settings: dict[str, Any], pipeline: Any) -> list[Any]:
    """Return the views and boxes of two epochs."""
    images = ImageDataset(split='train', pipeline=pipeline, seed=3, **settings)
    return [images[epoch, i] for epoch in (0, 5) for i in range(len(images))]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether all views are equal, bit by bit."""
    return len(ours) == len(theirs) and all(
        torch.equal(a, b)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one['inputs'], other['inputs'], strict=True)
    )


def losses(settings: dict[str, Any], steps: int, work_dir: Path) -> list[float]:
    """Return the losses of the first steps over the images in their order."""
    options = {f'train_dataloader.dataset.{key}': value for key, value in settings.items()} | {
        'train_dataloader.batch_size': BATCH,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.sampler.shuffle': False,
        'train_dataloader.sampler.even': True,
        'train_cfg.max_epochs': 1,
        'val_cfg': None,
        'param_scheduler': [],
    }
    cfg = load_config(root() / 'configs' / CONFIG, options)
    runner = quiet_runner(cfg, work_dir)
    hook = Losses()
    runner.register_hook(hook)
    runner.train()
    return hook.seen[:steps]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root')
    parser.add_argument('--split', default='train')
    parser.add_argument('--images', type=int, default=96)
    parser.add_argument('--steps', type=int, default=4)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        part = part_of(args.data_root, args.split, args.images, out / 'folder')
        print(part.describe())
        pipeline = load_config(root() / 'configs' / CONFIG).train_dataloader.dataset.pipeline
        expected: tuple[list[Any], list[float]] | None = None
        for form, settings in formats(part, out / 'folder', out).items():
            found = views(settings, pipeline), losses(settings, args.steps, out / f'run_{form}')
            expected = expected or found
            print(
                f'{form:13} views {"equal" if same(found[0], expected[0]) else "DIFFER"}   losses '
                f'{"equal" if found[1] == expected[1] else "DIFFER"}   '
                f'{", ".join(f"{loss:.6f}" for loss in found[1])}'
            )


if __name__ == '__main__':
    run_tool(main)
