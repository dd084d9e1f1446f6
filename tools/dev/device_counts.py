"""What one update of a recipe asks of a GPU: launches, waits, bytes and operations, on any machine.

    python tools/dev/device_counts.py CONFIG [CONFIG ...]
    python tools/dev/device_counts.py CONFIG --cfg-options model.backbone.pack_crops=False

The step is taken on tensors without content, in the recipe's precision and batch. GB are those that
operators read and write; operations (10^9, a multiplication with its addition counts once) those of
one image, forward and backward.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from mmssl.apis import load_config
from mmssl.cli.options import OptionAction, run_tool
from mmssl.planning.fake_tensor_step import FakeTensorStep


def row(path: str, options: dict[str, Any], show: int) -> str:
    """Return the cells of a recipe, and its most frequent operators where asked."""
    cfg = load_config(path, options)
    batch = cfg.train_dataloader.batch_size
    step = FakeTensorStep(cfg)
    operations = step.operations()[1] / 1e9
    counts = step.counts(batch)
    waits = ', '.join(f'{place} {n}' for place, n in counts.waits.items())
    moved = sum(counts.bytes.values()) / 1e9
    name = path.rpartition('/')[2].removesuffix('.py')
    cells = [name, str(batch), f'{sum(counts.launches.values()):,}', waits]
    line = ' | '.join([*cells, f'{moved:.1f}', f'{operations:.2f}'])
    often = ', '.join(f'{n} {name}' for name, n in counts.launches.most_common(show))
    return f'| {line} |' + (f'\n  {often}' if show else '')


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of the recipes."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--operators', type=int, default=0, help='show so many, the most frequent')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, default={})
    args = parser.parse_args(argv)
    print('| recipe | batch | launches | waits | GB | operations |\n|---|---|---|---|---|---|')
    for path in args.configs:
        print(row(path, args.cfg_options, args.operators), flush=True)


if __name__ == '__main__':
    run_tool(main)
