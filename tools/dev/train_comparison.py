"""Train configs over several seeds, for `mmssl evaluate` to compare.

    python tools/dev/train_comparison.py --data shapes
    python tools/dev/train_comparison.py --configs my_a.py my_b.py --seeds 0 1 2

Without --configs: all methods of configs/compare on the data set. A run that is finished is not
repeated and an interrupted one goes on where it was, so the same command continues. The last line
is the command that compares what was trained.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmssl.apis import load_config
from mmssl.cli.options import OptionAction, option_words, run_tool
from mmssl.cli.subprocess_tools import REPO, tool_status
from mmssl.core import UserError


class Run(NamedTuple):
    """One seed of a config and the folder it works in."""

    config: Path
    cfg: Config
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Method and network, the first two parts of the file's name."""
        return '_'.join(self.config.stem.split('_')[:2])

    @property
    def last(self) -> Path:
        """The file that the run ends with."""
        return self.folder / f'epoch_{self.cfg.train_cfg.max_epochs}.pth'


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --data without configs."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument(
        '--data', default='shapes', help='ending of the configs in configs/compare to run'
    )
    parser.add_argument('--configs', nargs='+', type=Path, help='run these instead')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value, for all runs'
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


def folder_of(config: Path, cfg: Config, seed: int, root: Path) -> Path:
    """Return a run's folder; other settings of the same config get another one."""
    text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return root / config.stem / f'seed{seed}-{mark}'


def train(run: Run, options: dict[str, Any]) -> int:
    """Train one run in a process of its own, from its newest checkpoint if it has one."""
    where = ['--work-dir', str(run.folder), '--resume']
    words = option_words({**options, 'randomness.seed': run.seed})
    return tool_status('train', run.config, *where, *words)


def words_of(runs: Sequence[Run]) -> list[str]:
    """Return the models of runs as `mmssl evaluate` takes them: NAME@FILE,FILE, ..."""
    files: dict[str, list[str]] = {}
    for run in runs:
        files.setdefault(run.name, []).append(str(run.last))
    return [f'{name}@{",".join(paths)}' for name, paths in files.items()]


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Train what is missing and return the models to evaluate. Raises UserError for failed runs."""
    args = parse(argv)
    cfgs = {path: load_config(path, args.cfg_options) for path in args.configs}
    runs = [
        Run(path, cfg, seed, folder_of(path, cfg, seed, args.work_dir))
        for seed in args.seeds
        for path, cfg in cfgs.items()
    ]
    missing = [run for run in runs if not run.last.is_file()]
    print(f'{len(runs)} runs, {len(runs) - len(missing)} of them finished already', flush=True)
    failed = []
    for number, run in enumerate(missing, 1):
        print(f'\n[{number}/{len(missing)}] {run.name}, seed {run.seed}', flush=True)
        if train(run, args.cfg_options):
            failed.append(f'{run.name} seed {run.seed}')
    if failed:
        names = ', '.join(failed)
        raise UserError(
            f'runs that failed (see above): {names}; the same command tries again',
            key='runs',
            value=names,
        )
    words = words_of(runs)
    print('\nmmssl evaluate random pixels', *words, '--data NAME=DIR')
    return words


if __name__ == '__main__':
    run_tool(main)
