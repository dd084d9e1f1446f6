"""Train one transfer config from several starts and seeds, and say what each start is worth.

    python tools/dev/benchmarks/transfer.py CONFIG --start random ours=work_dirs/x/epoch_8.pth

Prints a line for each run, and for each start the mean and the spread (sample standard
deviation) over seeds of the metrics at the end. What is there is not done again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmssl.cli.options import run_tool
from mmssl.core import UserError

REPO = Path(__file__).resolve().parent.parent.parent
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


def run(
    config: str, folder: Path, pretrained: str, seed: int, options: list[str]
) -> dict[str, float]:
    """Train unless it is done, and return the last metrics in percent."""
    out = folder / 'metrics.json'
    if not out.is_file():
        words = [REPO / 'tools' / 'train.py', config, '--work-dir', folder, '--overwrite']
        words += ['--cfg-options', f'pretrained={pretrained}', f'randomness.seed={seed}', *options]
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / 'output.txt', 'w') as log:
            done = subprocess.run(
                [sys.executable, *map(str, words)], stdout=log, stderr=log, check=False
            )
        if done.returncode:
            last = (folder / 'output.txt').read_text().strip().splitlines()[-1:]
            raise UserError(f'{folder}/output.txt: {"".join(last)}')
        out.write_text(json.dumps(final(folder)) + '\n')
    return json.loads(out.read_text())


def final(folder: Path) -> dict[str, float]:
    """Return the metrics of the last validation of a run."""
    logs = sorted(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    rows = [row for row in rows if set(row) & set(METRICS)]
    if not rows:
        raise UserError(f'{folder}: its log has no metrics; does the config validate at its end?')
    return {label: scale * rows[-1][k] for k, (label, scale) in METRICS.items() if k in rows[-1]}


def summary(values: list[float]) -> str:
    """Return mean and, of several, the spread."""
    mean = statistics.mean(values)
    return f'{mean:.1f} ± {statistics.stdev(values):.1f}' if len(values) > 1 else f'{mean:.1f}'


def main(argv: Sequence[str] | None = None) -> None:
    """Run and print."""
    args = parse(argv)
    root = args.work_dir or Path('work_dirs') / f'transfer_{Path(args.config).stem}'
    table: dict[str, list[dict[str, float]]] = {}
    for seed in args.seeds:
        for start in args.start:
            name, _, file = start.partition('=')
            folder = root / f'{name}-{seed}'
            found = run(os.path.relpath(args.config), folder, file or name, seed, args.cfg_options)
            table.setdefault(name, []).append(found)
            said = ', '.join(f'{label} {value:.1f}' for label, value in found.items())
            print(f'{name}, seed {seed}: {said}', flush=True)
    for name, runs in table.items():
        said = ', '.join(f'{label} {summary([r[label] for r in runs])}' for label in runs[0])
        print(f'{name}, {len(runs)} seeds: {said}')


if __name__ == '__main__':
    run_tool(main)
