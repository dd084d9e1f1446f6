"""Train MoCo v2, SwAV and DINO in ours and in lightly on CIFAR-10, and compare their kNN.

    python tools/dev/learning_parity.py data/cifar10 [--out parity.jsonl]

Both sides start from the same weights, get the same batches of views in the same process, follow
the same schedules and are measured by the same kNN. Ours is trained by the runner from a config of
configs/cifar10, shortened; tools/dev/lightly_methods.py holds the other side, and the head of
tools/dev/benchmarks/peers.py says how to get lightly. Before, each method takes 20 steps beside all
forms of the other side, in float32 and float64: their losses show where the two part. What is
finished is a line of --out and is not done again; the tables are printed in the end.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks import timing
from lightly_methods import DOCUMENTED, METHODS, LightlyMethod
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from quiet_runner import quiet_runner

from mmssl.cli.options import run_tool
from mmssl.config.load import load_config
from mmssl.core import Progress, UserError
from mmssl.engine import Runner
from mmssl.zoo.hub import root

PER_CLASS = 1000  # images of each class that are trained on; they are the bank too
BATCH = 128
PIXELS = 16  # of views and of measured images: a quarter of the time of 32
NETWORK = dict(width=16, layers=(1, 1, 1, 1), small_stem=True)  # 0.3 M parameters
FEATURES = 128
DTYPES = ('float32', 'float64')
# two-sided 95 % quantiles of Student's t by number of runs
QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
ADAMW = dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.05)
SHORT: dict[str, dict[str, Any]] = {
    'mocov2': {
        'model.neck.dims': (FEATURES, 256, 128),
        'model.queue_length': 2048,
        'model.head.temperature': 0.2,
        'optim_wrapper.optimizer': ADAMW,
    },
    'swav': {
        'model.neck.dims': (FEATURES, 256, 128),
        'model.head.prototypes': 128,
        'model.head.epsilon': 0.03,
        'optim_wrapper.optimizer.lr': 1e-3,
    },
    'dino': {
        'train_dataloader.dataset.pipeline.1.views.0.scale': (0.4, 1.0),
        'model.neck.dims': (FEATURES, 256, 256, 64),
        'model.neck.hidden_norm': True,
        'model.neck.prototypes': 64,
        'model.head.prototypes': 64,
        'model.momentum.start': 0.98,
        'optim_wrapper.optimizer.lr': 2e-3,
    },
}


def recipe(
    method: str, data: Path, seed: int, epochs: int, options: dict[str, Any] | None = None
) -> Config:
    """Return the shortened config of a method."""
    (file,) = (root() / 'configs/cifar10').glob(f'{method}_resnet18_1xb512*.py')
    return load_config(
        file,
        {
            'data_root': str(data),
            'randomness.seed': seed,
            'train_dataloader.batch_size': BATCH,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.per_class': PER_CLASS,
            'val_dataloader.num_workers': 0,
            'val_cfg.bank.per_class': PER_CLASS,
            'train_dataloader.dataset.pipeline.1.views.0.size': PIXELS,
            'val_dataloader.dataset.pipeline.1.size': PIXELS,
            'val_dataloader.dataset.pipeline.1.resize': PIXELS,
            'val_cfg.k': (20,),
            **{f'model.backbone.{key}': value for key, value in NETWORK.items()},
            'default_hooks.checkpoint.save_best': None,
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_at_start': False,
            'train_cfg.val_interval': 1000,  # measured before and after, not in between
            **SHORT[method],
            **(options or {}),
        },
    )


class Lockstep(Hook):
    """Give each batch that ours was trained on to lightly's forms too.

    ``losses`` are those of all sides, step by step. Raises AssertionError where a schedule of the
    other side differs from ours.
    """

    priority = 'HIGHEST'  # before our schedules go on

    def __init__(self, method: str, forms: Sequence[str]) -> None:
        self.method = method
        self.forms = forms
        self.sides: dict[str, LightlyMethod] = {}
        self.losses: dict[str, list[float]] = {name: [] for name in ('ours', *forms)}

    def before_train(self, runner: Any) -> None:
        """Build the other sides from our start weights."""
        at = Progress(0, runner.max_iters, len(runner.train_dataloader))
        for name in self.forms:
            with torch.random.fork_rng():
                side = METHODS[self.method](runner.model, runner.cfg, at, name)
            self.sides[name] = side

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Take the same step."""
        views = runner.model.data_preprocessor(data_batch, True)['inputs']
        self.losses['ours'].append(outputs['loss'])
        for name, side in self.sides.items():
            self.losses[name].append(side.step(views))
            check_schedules(runner, side)


def check_schedules(runner: Runner, side: LightlyMethod) -> None:
    """Raise AssertionError unless rate, decay and momentum of a step were the same."""
    group = runner.optim_wrapper.optimizer.param_groups[0]
    momentum = runner.model.current_momentum()
    for name, ours in dict(lr=group['lr'], decay=group['weight_decay'], momentum=momentum).items():
        theirs = side.taken[name]
        assert ours is None or abs(ours - theirs) <= 1e-9 * max(1.0, abs(ours)), name


def first_steps(method: str, data: Path, dtype: str) -> dict[str, list[float]]:
    """Return the losses of all sides in a training of four epochs of five steps."""
    hook = Lockstep(method, METHODS[method].forms)
    few = {'train_dataloader.dataset.per_class': 64, 'dtype': dtype}
    with tempfile.TemporaryDirectory() as folder:
        runner = quiet_runner(recipe(method, data, 0, 4, few), folder)
        runner.register_hook(hook)
        runner.train()
    return hook.losses


def learn(method: str, data: Path, seed: int, form: str, epochs: int) -> dict[str, Any]:
    """Train; return kNN top-1 in percent of random weights, ours and theirs, and last losses."""
    hook = Lockstep(method, [form])
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        runner = quiet_runner(recipe(method, data, seed, epochs), folder)
        start = runner.val_loop.run()['knn/top1']
        runner.register_hook(hook)
        runner.train()
        ours = runner.val_loop.run()['knn/top1']
        runner.model.backbone.load_state_dict(hook.sides[form].backbone.state_dict())
        theirs = runner.val_loop.run()['knn/top1']
    loss, their_loss = (statistics.fmean(losses[-50:]) for losses in hook.losses.values())
    seconds = round(time.process_time() - began)
    top1 = dict(start=start, ours=ours, theirs=theirs)
    return dict(top1, loss=loss, their_loss=their_loss, steps=runner.iter, seconds=seconds)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval (Student's t)."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), QUANTILES[len(values)] * error


def comparison(method: str, form: str, epochs: int, runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the cells of a method: kNN of both sides, their difference over seeds, a verdict."""
    ours = [run['ours'] for run in runs]
    theirs = [run['theirs'] for run in runs]
    mean, width = interval([a - b for a, b in zip(ours, theirs, strict=True)])
    return [
        method,
        f'{statistics.fmean(run["start"] for run in runs):.1f}',
        *('{:.2f} ± {:.2f}'.format(*interval(values)) for values in (ours, theirs)),
        form,
        str(epochs),
        f'{mean:+.2f} ± {width:.2f}',
        'within' if abs(mean) <= width else 'differs',
        ', '.join(f'{a:.1f} and {b:.1f}' for a, b in zip(ours, theirs, strict=True)),
        str(max(run['seconds'] for run in runs)),
    ]


def largest_gap(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the largest relative difference of two rows of losses."""
    return f'{max(abs(a - b) / abs(a) for a, b in zip(ours, theirs, strict=True)):.0e}'


def gaps(method: str, form: str, losses: dict[str, dict[str, list[float]]]) -> list[str]:
    """Return the cells of a form: differences of its losses from ours in both types of numbers."""
    cells = [method, form]
    for dtype in DTYPES:
        ours, theirs = losses[dtype]['ours'], losses[dtype][form]
        cells += [largest_gap(ours[:1], theirs[:1]), largest_gap(ours[1:], theirs[1:])]
    return cells


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


STEPS_HEAD = ('method', 'form', *(f'{d}, {s}' for d in DTYPES for s in ('step 1', 'steps 2 to 20')))
RUNS_HEAD = (
    *('method', 'random', 'ours', 'lightly', 'form', 'epochs', 'difference', 'verdict'),
    *('ours and lightly by seed', 'CPU seconds of a pair'),
)


def report(found: Sequence[dict[str, Any]]) -> str:
    """Return the tables of all that is finished; a method of one seed has no interval."""
    steps = [
        gaps(line['method'], form, line['losses'])
        for line in found
        if line['kind'] == 'steps'
        for form in line['losses'][DTYPES[0]]
        if form != 'ours'
    ]
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for line in found:
        if line['kind'] == 'run':
            runs.setdefault((line['method'], line['form'], line['epochs']), []).append(line)
    rows = [comparison(*key, lines) for key, lines in runs.items() if len(lines) > 1]
    return markdown(STEPS_HEAD, steps) + '\n\n' + markdown(RUNS_HEAD, rows)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for more seeds than `QUANTILES` knows."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('data', type=Path, help='folder with train/ and test/ of CIFAR-10')
    parser.add_argument('--out', type=Path, default=Path('parity.jsonl'))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--seeds', nargs='*', type=int, default=[0, 1, 2])
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument(
        '--form',
        choices=sorted({form for method in METHODS.values() for form in method.forms}),
        default=DOCUMENTED,
        help='of the runs over seeds, for the methods that have it',
    )
    args = parser.parse_args(argv)
    if len(args.seeds) > max(QUANTILES):
        raise UserError(f'--seeds: give at most {max(QUANTILES)}', '--seeds', len(args.seeds))
    return args


def finished(file: Path) -> list[dict[str, Any]]:
    """Return what is done, also by other processes that share the file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and print the tables."""
    args = parse(argv)
    commit = timing.commit()
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    jobs = [dict(kind='steps', method=method) for method in args.methods]
    for seed in args.seeds:
        jobs += [
            dict(kind='run', method=method, seed=seed, form=args.form, epochs=args.epochs)
            for method in args.methods
            if args.form in METHODS[method].forms
        ]
    for job in jobs:
        if any(job.items() <= line.items() for line in finished(args.out)):
            continue
        if job['kind'] == 'steps':
            losses = {dtype: first_steps(job['method'], args.data, dtype) for dtype in DTYPES}
            result = dict(losses=losses)
        else:
            result = learn(job['method'], args.data, job['seed'], job['form'], job['epochs'])
        with args.out.open('a') as file:
            file.write(json.dumps({**job, **result, 'commit': commit}) + '\n')
    print(report(finished(args.out)))
    print(timing.machine_line(timing.provenance()))


if __name__ == '__main__':
    run_tool(main)
