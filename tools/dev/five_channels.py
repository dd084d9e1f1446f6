"""Do five channels learn as RGB does? kNN of MoCo v3 on RGB, on a mix of it, and with a signal.

    python tools/dev/five_channels.py data/imagenette [--per-class 100] [--seeds 0 1 2]

Images of class folders are written as TIFFs of 16 bits: 'rgb' as they are, 'mixed' with five
channels that are a fixed mix of red, green and blue, from which these can be had back, and
'signal', the mix with a fifth channel of noise about a level that its class alone decides. Mean and
std of each channel are measured by `mmssl data`. All are trained by the same short recipe without
colour operations that only RGB has. Expected: mixed within the interval of rgb, signal above it.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from over_seeds import mean_and_half
from quiet_runner import quiet_runner

from mmssl.apis import load_config
from mmssl.cli import data_report
from mmssl.cli.options import run_tool
from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms import CenterView, LoadImage
from mmssl.reports.history import read_history
from mmssl.zoo.hub import root

CONFIG = 'cifar10/mocov3_resnet18-w16_1xb128-3e_cifar10.py'
SIDE = 48  # pixels of the written images
CROP = 32
# rows sum to 1, so that values stay in range; of rank 3, so that RGB can be had back
MIX = np.array(
    [[0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6], [0.45, 0.45, 0.1], [0.1, 0.45, 0.45]]
)
NOISE = 6000.0  # of 65535: standard deviation of the fifth channel with the signal


def pixels_of(kind: str, rgb: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """Return an image (H, W, C) of uint16 of RGB bytes (H, W, 3)."""
    deep = rgb.astype(np.float64) * 257
    if kind == 'rgb':
        return deep.astype(np.uint16)
    mixed = deep @ MIX.T
    if kind == 'signal':
        mixed[..., 4] = 6000 * (label + 1) + rng.normal(0, NOISE, rgb.shape[:2])
    return np.rint(mixed.clip(0, 65535)).astype(np.uint16)


def write(source: str, kind: str, per_class: int, out: Path) -> None:
    """Write the images of train and val below ``out``."""
    view = CenterView(size=SIDE, resize=SIDE)
    for split in ('train', 'val'):
        images = ImageDataset(source, split, per_class=per_class if split == 'train' else 40)
        for i in range(len(images)):
            image = LoadImage().from_file(Path(images.name(i)))
            rgb = np.asarray(view.view(image))
            label = images.labels[i]
            rng = np.random.default_rng((label, i))
            path = out / split / images.classes[label] / f'{i}.tif'
            path.parent.mkdir(parents=True, exist_ok=True)
            values = pixels_of(kind, rgb, label, rng)
            tifffile.imwrite(path, values, photometric='minisblack', planarconfig='contig')


def knn(data: Path, channels: int, seed: int, epochs: int, work_dir: Path) -> list[float]:
    """Train and return the kNN accuracy before and after, in per cent."""
    out = data / 'report'
    if not (out / 'data.json').is_file():
        words = [str(data), '--split', 'train', '--channels', str(channels), '--out', str(out)]
        with suppress(SystemExit):
            data_report.main([*words, '--value-range', '0', '65535', '--quiet'])
    facts = json.loads((out / 'data.json').read_text())['sets']['train']
    load = dict(type='LoadImage', channels=channels, value_range=(0, 65535))
    crop = dict(type='RandomView', size=CROP, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0, 0), gray=0)
    views = [crop, dict(crop, solarize=0.2)]
    centre = dict(type='CenterView', size=CROP, resize=CROP)
    options: dict[str, Any] = {
        'data_root': str(data),
        'randomness.seed': seed,
        'train_dataloader.dataset.pipeline': [load, dict(type='MultiView', views=views)],
        'val_dataloader.dataset.pipeline': [load, centre],
        'val_dataloader.dataset.split': 'val',
        'model.backbone.in_channels': channels,
        'model.data_preprocessor': dict(
            type='ViewPreprocessor', mean=facts['mean'], std=facts['std']
        ),
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': epochs,
    }
    cfg = load_config(root() / 'configs' / CONFIG, options)
    runner = quiet_runner(cfg, work_dir)
    runner.train()
    found = read_history(work_dir).val
    first = min(key for key in found if 'knn' in key and 'top1' in key)
    return [accuracy for _, accuracy in found[first]]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the accuracies of every seed, and the interval of each kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_root')
    parser.add_argument('--per-class', type=int, default=100)
    parser.add_argument('--epochs', type=int, default=4)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = parser.parse_args(argv)
    assert np.linalg.matrix_rank(MIX) == 3
    with tempfile.TemporaryDirectory() as name:
        for kind in ('rgb', 'mixed', 'signal'):
            data = Path(name) / kind
            write(args.data_root, kind, args.per_class, data)
            channels = 3 if kind == 'rgb' else 5
            found = [
                knn(data, channels, seed, args.epochs, Path(name) / f'{kind}_{seed}')
                for seed in args.seeds
            ]
            ends = [values[-1] for values in found]
            mean, half = mean_and_half(ends)
            print(
                f'{kind:7} untrained {", ".join(f"{values[0]:.1f}" for values in found)}   '
                f'trained {", ".join(f"{value:.1f}" for value in ends)}   mean '
                f'{mean:.1f} ± {half:.1f} (95 %)',
                flush=True,
            )


if __name__ == '__main__':
    run_tool(main)
