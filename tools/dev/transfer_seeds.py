"""Train one transfer config from several starts and seeds, and say what each start is worth.

    python tools/dev/transfer_seeds.py CONFIG --start random ours=work_dirs/x/epoch_8.pth

Prints a line for each run, and for each start the mean and the spread (sample standard
deviation) over seeds of the metrics at the end. What is there is not done again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from mmssl.cli.options import run_tool
from mmssl.cli.subprocess_tools import REPO, json_or_run
from mmssl.core import UserError
from mmssl.core.io import atomic_write

METRICS = {'coco/bbox_mAP': ('box AP', 100), 'coco/segm_mAP': ('mask AP', 100), 'mIoU': ('mIoU', 1)}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('config', help='a transfer config that validates at its end')
    parser.add_argument(
        '--start', nargs='+', required=True, metavar='NAME[=FILE]', help="'random', or files"
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/transfer_CONFIG')
    parser.add_argument('--cfg-options', nargs='+', default=[])
    return parser.parse_args(argv)


def mean_and_std(values: list[float]) -> str:
    """Mean, and standard deviation where there are several values."""
    return f'{mean(values):.1f}' + (f' ± {stdev(values):.1f}' if len(values) > 1 else '')


def train(folder: Path, config: str, *options: str) -> None:
    """Train, and keep the metrics of the last validation in percent."""
    words = [config, '--work-dir', folder, '--overwrite', '--cfg-options', *options]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'output.txt', 'w') as log:
        command = [sys.executable, REPO / 'tools/train.py', *words]
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    if done.returncode:
        last = (folder / 'output.txt').read_text().strip().rpartition('\n')[2]
        raise UserError(f'{folder}/output.txt: {last}', 'config', config)
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    rows = [row for row in rows if set(row) & set(METRICS)]
    if not rows:
        text = f'{folder}: its log has no metrics; does the config validate at its end?'
        raise UserError(text, 'config', config)
    last = {label: scale * rows[-1][k] for k, (label, scale) in METRICS.items() if k in rows[-1]}
    atomic_write(folder / 'metrics.json', json.dumps(last) + '\n')


def main(argv: Sequence[str] | None = None) -> None:
    """Run and print."""
    args = parse(argv)
    root = args.work_dir or Path('work_dirs') / f'transfer_{Path(args.config).stem}'
    table: dict[str, list[dict[str, float]]] = {}
    for seed in args.seeds:
        for start in args.start:
            name, _, file = start.partition('=')
            folder = root / f'{name}-{seed}'
            options = (f'pretrained={file or name}', f'randomness.seed={seed}', *args.cfg_options)
            found = json_or_run(
                folder / 'metrics.json', partial(train, folder, args.config, *options)
            )
            table.setdefault(name, []).append(found)
            said = ', '.join(f'{label} {value:.1f}' for label, value in found.items())
            print(f'{name}, seed {seed}: {said}', flush=True)
    for name, runs in table.items():
        said = ', '.join(f'{k} {mean_and_std([r[k] for r in runs])}' for k in runs[0])
        print(f'{name}, {len(runs)} seeds: {said}')


if __name__ == '__main__':
    run_tool(main)
