"""One small ViT trained on real images by each method, and what RankMe says of its kNN accuracy.

    python tools/dev/comparison_networks.py data/imagenette128 --epochs 12
    python tools/dev/comparison_networks.py data/imagenette128 --only mocov3 --seeds 0 1 2

The recipes are those of configs/compare for the embedded shapes, with views of 64 px, the colours
of photographs and two blocks more. All runs see the same images equally often. Prints kNN top-1
and RankMe of the features of each measurement, and Spearman's correlation of the two, over the
measurements of each run and over the ends of all runs. What is there is not done again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import train_comparison
from mmengine.config import Config
from scipy.stats import spearmanr

from mmssl.cli.options import run_tool
from mmssl.cli.subprocess_tools import REPO
from mmssl.config.load import TOP_KEYS
from mmssl.reports.history import read_history

SIZE = 64
RECIPES = {
    'mocov3': 'mocov3_vit-conv',
    'dino': 'esvit_vit-conv-v',
    'swav': 'swav_vit-conv',
    'esvit': 'esvit_vit-conv',
    'ibot': 'ibot_vit-conv',
    'sere': 'sere_vit-conv',
    'moby': 'moby_vit-conv',
    'mocov1': 'mocov1_vit-conv',
    'mocov2': 'mocov2_vit-conv',
}
Point = dict[str, float]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('data', type=Path, help='folder with train/ and val/')
    parser.add_argument('--val', default='val', help='name of the folder of queries')
    parser.add_argument('--only', nargs='+', choices=RECIPES, default=list(RECIPES))
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/comparison_networks'))
    return parser.parse_args(argv)


def config_of(args: argparse.Namespace, name: str) -> Config:
    """Return the recipe of a method for photographs of 64 px."""
    cfg = Config.fromfile(REPO / f'configs/compare/{RECIPES[name]}_1xb64-16e_shapes.py')
    for variable in set(cfg) - set(TOP_KEYS):
        cfg.pop(variable)
    cfg.data_root = str(args.data.resolve())
    for view in cfg.train_dataloader.dataset.pipeline[1].views:
        small = view.size == 16
        view.update(size=32 if small else SIZE, scale=(0.05, 0.3) if small else (0.2, 1.0))
        view.update(jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, gray=0.2)
    cfg.model.backbone.update(arch=(64, 4, 4), img_size=SIZE)
    if name == 'sere':  # grids of 8 x 8 and 4 x 4 patches
        cfg.model.relation.update(overlap_size=(8, 8), local_grid=4, divisor=(8, 4))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=1, persistent_workers=False)
    cfg.val_dataloader.dataset.split = args.val
    cfg.val_dataloader.dataset.pipeline[1].update(size=SIZE, resize=SIZE)
    interval = max(args.epochs // 6, 1)
    cfg.train_cfg.update(max_epochs=args.epochs, val_interval=interval, val_at_start=True)
    return cfg


def write_config(args: argparse.Namespace, name: str) -> Path:
    """Write the recipe of a method, and return the file."""
    path = args.work_dir / 'configs' / f'{name}_vit-conv.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    config_of(args, name).dump(path)
    return path


def measurements(folder: Path) -> list[Point]:
    """Return kNN top-1 (%) and RankMe of each measurement of a run."""
    found = read_history(folder).val
    pairs = zip(found['knn/top1'], found['health/rankme'], strict=True)
    return [dict(epoch=at, knn=knn, rankme=rank) for (at, knn), (_, rank) in pairs]


def correlation(points: Sequence[Point]) -> float:
    """Return Spearman's rank correlation of RankMe and kNN top-1."""
    value: Any = spearmanr([p['rankme'] for p in points], [p['knn'] for p in points])
    return float(value.statistic)


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is not there yet, and print the tables."""
    args = parse(argv)
    configs = [write_config(args, name) for name in args.only]
    words = ['--configs', *configs, '--seeds', *args.seeds, '--work-dir', args.work_dir]
    ends: list[Point] = []
    trained = train_comparison.main([str(word) for word in words])
    print('| network | kNN top-1, % | RankMe | their correlation in this run |')
    print('| --- | --- | --- | --- |')
    for word in trained:
        name, _, files = word.partition('@')
        for file in files.split(','):
            points = measurements(Path(file).parent)
            knn = ' '.join(f'{point["knn"]:.1f}' for point in points)
            rank = ' '.join(f'{point["rankme"]:.1f}' for point in points)
            print(f'| {name} | {knn} | {rank} | {correlation(points):+.2f} |')
            ends.append(points[-1])
    if len(ends) > 2:
        print(f'\nOver the ends of the {len(ends)} runs: {correlation(ends):+.2f}')


if __name__ == '__main__':
    run_tool(main)
