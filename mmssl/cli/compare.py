"""Train configs over several seeds and put their kNN accuracies side by side.

Without arguments: all methods of configs/compare on the embedded shapes. A run that is finished
is not repeated and an interrupted one goes on where it was, so the same command continues.
"""

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from mmengine.config import Config

from ..apis import load_config
from ..core import UserError
from ..core.io import atomic_write
from ..registry import DATASETS
from ..reports.history import read_history, read_record
from .options import OptionAction
from .subprocess_tools import REPO, stored_json, tool_status

RESULT = 'result.json'
METRIC = 'knn/top1'


class Entry(NamedTuple):
    """One config of the comparison, what its table row says before any run, and its runs."""

    path: Path
    cfg: Config
    views: str
    images: int  # seen by each run

    @property
    def name(self) -> str:
        """Method and network, the first two parts of the file's name."""
        return '_'.join(self.path.stem.split('_')[:2])


class Run(NamedTuple):
    """One seed of an entry and the folder it works in."""

    entry: Entry
    seed: int
    folder: Path


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --data without configs."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--data', default='shapes', help='ending of the configs in configs/compare to run'
    )
    parser.add_argument('--configs', nargs='+', type=Path, help='run these instead')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument('--out', type=Path, help='write the table to this .md file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help='key=value, for all runs',
    )
    args = parser.parse_args(argv)
    if not args.configs:
        args.configs = sorted((REPO / 'configs/compare').glob(f'*_{args.data}.py'))
        if not args.configs:
            raise UserError(
                f'--data {args.data}: configs/compare has no config for it',
                key='--data',
                value=args.data,
            )
    return args


def read_entry(path: Path, options: dict[str, Any]) -> Entry:
    """Read and check a config and its data, before anything is trained.

    Raises UserError for a config without a kNN monitor from the start on.
    """
    cfg = load_config(path, options)
    if not cfg.get('val_cfg'):
        raise UserError(f'{path}: has no val_cfg, so no kNN to compare', key='val_cfg', value=None)
    if not cfg.train_cfg.get('val_at_start'):
        raise UserError(
            f'{path}: set train_cfg.val_at_start=True; the comparison needs the untrained kNN',
            key='train_cfg.val_at_start',
            value=cfg.train_cfg.get('val_at_start'),
        )
    loader = cfg.train_dataloader
    batches = len(DATASETS.build(loader.dataset)) // loader.batch_size
    sizes = Counter(
        view.get('size', 224)
        for view in loader.dataset.pipeline[1].views
        for _ in range(view.get('repeat', 1))
    )
    views = ' + '.join(f'{count} x {size} px' for size, count in sizes.items())
    return Entry(path, cfg, views, cfg.train_cfg.max_epochs * batches * loader.batch_size)


def folder_of(entry: Entry, seed: int, root: Path) -> Path:
    """Return a run's folder; other settings of the same config get another one."""
    text = json.dumps(entry.cfg.to_dict(), sort_keys=True, default=str)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return root / entry.path.stem / f'seed{seed}-{mark}'


def train(run: Run, options: Sequence[str]) -> int:
    """Train one run in a process of its own, from its newest checkpoint if it has one."""
    seed = f'randomness.seed={run.seed}'
    where = ['--work-dir', str(run.folder), '--resume']
    return tool_status('train', run.entry.path, *where, '--cfg-options', *options, seed)


def collect(run: Run) -> dict[str, float]:
    """Write and return the figures of a finished run. Raises UserError when it is not whole."""
    record = read_record(run.folder)
    points = read_history(run.folder).val.get(METRIC, [])
    if not points or points[0][0] != 0 or points[-1][0] != run.entry.cfg.train_cfg.max_epochs:
        raise UserError(
            f'{run.folder}: no {METRIC} of the first and last epoch; remove the folder',
            key='folder',
            value=str(run.folder),
        )
    result = dict(
        random=points[0][1],
        last=points[-1][1],
        best=max(value for _, value in points[1:]),
        seconds=record['seconds'],
        peak_memory=record['peak_memory'],
    )
    atomic_write(run.folder / RESULT, json.dumps(result, indent=2) + '\n')
    return result


def stored(run: Run) -> dict[str, float] | None:
    """Return the figures of a run that is finished."""
    return stored_json(run.folder / RESULT)


def mean_and_std(values: list[float], sign: str = '') -> str:
    """Mean, and standard deviation where there are several values."""
    return f'{mean(values):{sign}.1f}' + (f' ± {stdev(values):.1f}' if len(values) > 1 else '')


def row(entry: Entry, results: list[dict[str, float]]) -> list[str]:
    """Return the cells of a config."""
    gains = [r['last'] - r['random'] for r in results]
    return [
        entry.name,
        entry.views,
        f'{entry.images:,}',
        mean_and_std([r['random'] for r in results]),
        mean_and_std([r['last'] for r in results]),
        mean_and_std(gains, '+'),
        f'{mean(r["seconds"] for r in results) / 60:.1f}',
        str(len(results)),
    ]


HEAD = (
    'method and network',
    'views of an image',
    'images seen',
    'kNN, random init',
    'kNN, trained',
    'gain',
    'minutes',
    'seeds',
)


def table(runs: Sequence[Run]) -> str:
    """Return the table of what is finished, best first: kNN top-1 in percent, mean ± spread."""
    by_entry: dict[Path, list[dict[str, float]]] = {}
    for run in runs:
        if (result := stored(run)) is not None:
            by_entry.setdefault(run.entry.path, []).append(result)
    entries = {run.entry.path: run.entry for run in runs}
    order = sorted(by_entry, key=lambda path: -mean(r['last'] for r in by_entry[path]))
    rows = [row(entries[path], by_entry[path]) for path in order]
    lines = [HEAD, ['---'] * len(HEAD), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def machine_note(runs: Sequence[Run]) -> str:
    """Say on what machine and with what the first run was made."""
    record = next((found for run in runs if (found := read_record(run.folder))), None)
    if record is None:
        return ''
    machine, versions = record['machine'], record['versions']
    where = ', '.join(machine['gpus']) or f'{machine["processor"]}, {machine["cores"]} cores'
    return f'kNN top-1 in percent. {where}; mmssl {versions["mmssl"]}, torch {versions["torch"]}.'


def main(argv: Sequence[str] | None = None) -> str:
    """Run what is missing and return the table. Raises UserError when a run failed."""
    args = parse(argv)
    entries = [read_entry(path, args.cfg_options) for path in args.configs]
    runs = [Run(e, s, folder_of(e, s, args.work_dir)) for s in args.seeds for e in entries]
    missing = [run for run in runs if stored(run) is None]
    print(f'{len(runs)} runs, {len(runs) - len(missing)} of them finished already', flush=True)
    options = [f'{key}={value!r}' for key, value in args.cfg_options.items()]
    failed, begin = [], time.time()
    for number, run in enumerate(missing, 1):
        print(f'\n[{number}/{len(missing)}] {run.entry.name}, seed {run.seed}', flush=True)
        if train(run, options):
            failed.append(f'{run.entry.name} seed {run.seed}')
            continue
        result = collect(run)
        left = (time.time() - begin) / number * (len(missing) - number) / 60
        print(
            f'{run.entry.name}: kNN {result["random"]:.1f} -> {result["last"]:.1f} % in '
            f'{result["seconds"]:.0f} s, about {left:.0f} min left',
            flush=True,
        )
        write_table(args.out, runs)
    text = write_table(args.out, runs)
    print('\n' + text)
    if failed:
        names = ', '.join(failed)
        raise UserError(
            f'runs that failed (see above): {names}; the same command tries again',
            key='runs',
            value=names,
        )
    return text


def write_table(out: Path | None, runs: Sequence[Run]) -> str:
    """Return table and note, and keep them in a file when asked."""
    text = f'{table(runs)}\n\n{machine_note(runs)}\n'
    if out:
        atomic_write(out, text)
    return text
