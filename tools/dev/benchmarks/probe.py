"""The cached probe beside the online one and scikit-learn: accuracy and cost on the same images.

One frozen network, one folder of images. Online: the 45 rates of iBOT over augmented views, the
best one on the test images, as upstream reports it. Cached: features once, a grid chosen on
held-out training images. scikit-learn: logistic regression on the cached features, chosen alike.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from mmssl.apis import load_config
from mmssl.cli.options import run_tool
from mmssl.engine import Runner
from mmssl.evaluation import probe

BASES = Path(__file__).resolve().parents[2] / 'configs' / '_base_'
LENGTH = 90  # epochs of the online protocol


class Row(NamedTuple):
    """One form: its accuracy in percent, and seconds of the clock and of the processor."""

    name: str
    top1: float
    wall: float
    cpu: float


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a call returns, its seconds, and those of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def common(args: argparse.Namespace, work_dir: str) -> dict[str, Any]:
    """Return the options both forms have: network, images, no worker processes."""
    return {
        'pretrained': args.checkpoint,
        'model.backbone': dict(type='ResNet', depth=18, width=args.width, small_stem=True),
        'data_root': args.data,
        'work_dir': work_dir,
        'log_level': 'ERROR',
        'randomness.seed': args.seed,
    }


def loader(name: str, args: argparse.Namespace, split: str, per_class: int) -> dict[str, Any]:
    """Return the options of one loader."""
    view = dict(size=args.size) if name == 'train' else dict(size=args.size, resize=args.size)
    kind = 'TrainView' if name == 'train' else 'CenterView'
    return {
        f'{name}_dataloader.batch_size': args.batch,
        f'{name}_dataloader.num_workers': 0,
        f'{name}_dataloader.persistent_workers': False,
        f'{name}_dataloader.pin_memory': False,
        f'{name}_dataloader.dataset.split': split,
        f'{name}_dataloader.dataset.per_class': per_class,
        f'{name}_dataloader.dataset.pipeline': [dict(type='LoadImage'), dict(type=kind, **view)],
    }


def online(args: argparse.Namespace, work_dir: str) -> Row:
    """Train all rates on augmented views; cost is that of ``LENGTH`` epochs."""
    options = {
        **common(args, work_dir),
        **loader('train', args, 'train', args.train),
        **loader('val', args, args.split, args.test),
        'test_dataloader': None,
        'test_cfg': None,
        'test_evaluator': None,
        'val_evaluator': dict(type='Accuracy', topk=(1,)),
        'model.head': dict(type='SweepHead', num_classes=args.classes),
        'optim_wrapper.optimizer.lr': args.batch / 256,
        'train_cfg': dict(type='EpochLoop', max_epochs=args.epochs, val_interval=args.epochs + 1),
        'default_hooks.checkpoint.iterations': 0,
    }
    runner = Runner.from_cfg(load_config(BASES / 'linear.py', options))
    _, wall, cpu = timed(runner.train)
    found = runner.val()
    scale = LENGTH / args.epochs
    name = f'online, {args.epochs} epochs' + (f' (cost of {LENGTH})' if scale != 1 else '')
    return Row(name, found['sweep/top1_best'], wall * scale, cpu * scale)


def cached(args: argparse.Namespace, work_dir: str) -> tuple[Row, Row]:
    """Return the cached probe's row and scikit-learn's, both with the cost of the features."""
    options = {**common(args, work_dir), **loader('test', args, args.split, args.test)}
    options |= {'test_cfg.bank': dict(split='train', per_class=args.train)}
    options.pop('test_dataloader.persistent_workers')
    runner = Runner.from_cfg(load_config(BASES / 'probe.py', options))
    found, wall, cpu = timed(runner.test)
    ours = Row('cached, grid of 40', found['probe/top1'], wall, cpu)
    (bank, query), *spent = timed(runner.test_loop._features)
    scale = probe.Scale.of(bank.features)
    x, unseen = scale(bank.features).numpy(), scale(query.features).numpy()
    kept, held = (rows.numpy() for rows in probe.split(bank.labels, 0.1, args.seed))
    labels = bank.labels.numpy()

    def fit(strength: float, rows: Any) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(x[rows], labels[rows])

    def search() -> float:
        strengths = [1e-3, 1e-2, 1e-1, 1.0]
        accuracy = [fit(c, kept).score(x[held], labels[held]) for c in strengths]
        best = strengths[accuracy.index(max(accuracy))]
        return 100 * fit(best, slice(None)).score(unseen, query.labels.numpy())

    top1, wall, cpu = timed(search)
    return ours, Row('scikit-learn, 4 strengths', top1, wall + spent[0], cpu + spent[1])


def table(rows: Sequence[Row], count: int) -> Table:
    """Return the rows and how much cheaper each is than the first."""
    shown = Table('form', 'top-1 (%)', '95 % interval', 'wall (s)', 'cpu (s)', 'wall', 'cpu')
    for row in rows:
        low, high = probe.interval(row.top1, count)
        shown.add_row(
            row.name,
            f'{row.top1:.2f}',
            f'{low:.1f} to {high:.1f}',
            f'{row.wall:.1f}',
            f'{row.cpu:.1f}',
            f'{rows[0].wall / row.wall:.1f}x',
            f'{rows[0].cpu / row.cpu:.1f}x',
        )
    return shown


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help="a ResNet-18 for small images, or 'random'")
    parser.add_argument('data', help='folder with train/ and the test split, one folder a class')
    parser.add_argument('--split', default='test')
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--train', type=int, default=500, help='training images of each class')
    parser.add_argument('--test', type=int, default=200, help='test images of each class')
    parser.add_argument('--width', type=int, default=16)
    parser.add_argument('--size', type=int, default=32)
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--epochs', type=int, default=LENGTH, help='epochs of the online form')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, and return its rows."""
    args = parse(argv)
    with tempfile.TemporaryDirectory() as work_dir:
        two = cached(args, work_dir)
        rows = [online(args, work_dir), *two]
    console = Console(width=120)
    console.print(f'{args.classes * args.train} training images, {torch.get_num_threads()} threads')
    console.print(table(rows, args.classes * args.test))
    return rows


if __name__ == '__main__':
    run_tool(main)
