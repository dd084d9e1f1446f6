"""Predicted peak memory against the bytes of a real step, on this CPU, in the same run."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table

from mmssl.apis import load_config
from mmssl.cli.options import run_tool
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.planning.memory import Memory
from mmssl.planning.standalone_step import StandaloneTraining, noise_batch
from mmssl.registry import MODELS

REPO = Path(__file__).resolve().parents[2]
MIB = 2**20


def compare(path: Path, batch: int | None) -> list[str]:
    """Return the cells of a config: batch, MiB predicted and measured, ratio."""
    cfg = load_config(path)
    count = batch or cfg.train_dataloader.batch_size
    predicted = FakeTensorStep(cfg, 'cpu').peak(count)
    data = noise_batch(cfg, count)
    with DefaultScope.overwrite_default_scope('mmssl'), Memory() as memory:
        training = StandaloneTraining(cfg, MODELS.build(cfg.model))
        memory.peak = memory.now
        training.step(data)
    sizes = [f'{size / MIB:.2f}' for size in (predicted, memory.peak)]
    return [path.stem, str(count), *sizes, f'{predicted / memory.peak:.3f}']


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    every = sorted((REPO / 'configs/compare').glob('*_shapes.py'))
    parser.add_argument('--configs', nargs='+', type=Path, default=every)
    parser.add_argument('--batch', type=int, help="default: each config's own")
    args = parser.parse_args(argv)
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # groups are listed at every build
    table = Table('config', 'batch', 'MiB, predicted', 'MiB, measured', 'ratio')
    rows = [compare(path, args.batch) for path in args.configs]
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)
    return rows


if __name__ == '__main__':
    run_tool(main)
