"""Pretrain a small network on drawn shapes, measure it, and report: does everything work here?"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..apis import load_config
from ..datasets import ImageDataset
from .options import OptionAction
from .subprocess_tools import REPO, prepare_folder
from .train_and_measure import call, evaluate, train

CONFIG = REPO / 'configs' / 'quickstart' / 'mocov3_vit-conv_1xb64-32e_shapes.py'
SHAPES = Path('data/shapes')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    parser.add_argument('--seed', type=int, help="default: the config's")
    parser.add_argument(
        '--config', default=os.path.relpath(CONFIG), help='another config to pretrain with'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the images, train, evaluate and report; steps whose result exists are skipped."""
    args = parse(argv)
    call('dataset_tools/make_shapes', str(SHAPES))
    images = len(ImageDataset(str(SHAPES), 'train'))
    seed = {} if args.seed is None else {'randomness.seed': args.seed}
    options = {**seed, **args.cfg_options}
    cfg = load_config(args.config, options)
    prepare_folder(args.work_dir, f'{cfg.pretty_text}{images}')
    last = train(args.config, args.work_dir, cfg.train_cfg.max_epochs, options)
    top1 = evaluate(args.config, args.work_dir, last, options)
    call('analysis_tools/report', str(args.work_dir), '--checkpoint', str(last))
    report = args.work_dir / 'report.html'
    scores = f'{top1["random"]:.1f} -> {top1["pretrained"]:.1f} %'
    print(f'quickstart: kNN top-1 {scores}, report: {report}')
