"""Estimate what a pretraining needs before it is started: memory, batch, learning rate, time."""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from ..apis import load_config
from ..core.errors import at_least
from ..core.protocols import HasFrozenTeacher
from ..planning.complexity import count
from ..planning.plan import GIB, Plan, Planner, accumulated_batches, read_memory
from ..planning.timing import Probe, probe
from .options import OptionAction


def size(count: int) -> str:
    """Format a number of bytes in GiB or MiB."""
    return f'{count / GIB:.2f} GiB' if count >= GIB / 10 else f'{count / 2**20:.1f} MiB'


ROWS: dict[str, Callable[[Plan], str]] = {
    'learning rate': lambda p: f'{p.rate:.4g}',
    'peak memory of each': lambda p: size(p.peak),
    'seconds of an update': lambda p: '-' if p.seconds is None else f'{p.seconds:.3g}',
    'hours of the schedule': lambda p: '-' if p.hours is None else f'{p.hours:,.3g}',
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --gpus below 1."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument('config', help='config file of a pretraining')
    made.add_argument('--gpus', type=int, help='devices; default: those the config is written for')
    made.add_argument('--memory', help='of each device, such as 24G: search the largest batch')
    made.add_argument('--device', choices=('cuda', 'cpu'), default='cuda', help='what they are')
    made.add_argument('--no-probe', action='store_true', help='take no real step: no times')
    made.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value')
    args = made.parse_args(argv)
    if args.gpus is not None:
        at_least('--gpus', args.gpus)
    return args


def table(plans: dict[str, Plan], each: str) -> str:
    """Return the plans as a table, a column for each."""
    rows = [['', *plans], ['images', *(f'{p.batch} {each}' for p in plans.values())]]
    rows += [[name, *map(show, plans.values())] for name, show in ROWS.items()]
    return '\n'.join(f'{row[0]:26}' + ''.join(f'{cell:>24}' for cell in row[1:]) for row in rows)


def describe(planner: Planner) -> str:
    """Return the lines of the plan that do not depend on the batch size."""
    training = planner.fake_step.training
    parameters = training.parameters
    size_all = count(training.model) / 1e6
    forward, both = (x / 1e9 for x in planner.fake_step.operations())
    trained = sum(p.numel() for p in parameters)
    teacher = ''
    if isinstance(training.model, HasFrozenTeacher):
        network = training.model.frozen_teacher
        size_teacher, cost = count(network) / 1e6, planner.fake_step.teacher_operations(network)
        teacher = (
            f'teacher     {size_teacher:.2f} M parameters beside them, frozen, and '
            f'{cost / 1e9:.3g} G of the forward\n'
        )
    data = f'{planner.images:,} images' if planner.images else 'an unknown number of images'
    return (
        f'{planner.cfg.train_cfg.max_epochs} epochs of {data}\n'
        f'parameters  {size_all:.2f} M, {trained / 1e6:.2f} M of them trained\n'
        f'operations  {forward:.3g} G, with the backward {both:.3g} G, for all crops '
        'of one image\n            through student, teacher and heads: products, convolutions, '
        'attention;\n            a multiplication with its addition counts once\n'
        f'{teacher}'
    )


def measured(timing: Probe, device: str, predicted: int) -> str:
    """Return a line on the source of the times, with the measured and the predicted peak."""
    where = 'this GPU' if device == 'cuda' else f'this CPU on {torch.get_num_threads()} threads'
    batches = ' and '.join(str(batch) for batch, _ in timing.times[-2:])
    return f'times: of {where}, from batches of {batches}, without loader and exchange' + (
        f'; its peak {size(timing.peak)}, predicted {size(predicted)}' if predicted else ''
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Plan]:
    """Print the plan and return its columns.

    Raises UserError for a config that trains nothing, and when no batch fits into --memory.
    """
    args = parse(argv)
    memory = read_memory(args.memory) if args.memory else None
    cfg = load_config(args.config, args.cfg_options)
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # groups are listed at every build
    planner = Planner(cfg, args.gpus, args.device)
    print(f'{Path(args.config).stem}: {describe(planner)}')
    written = cfg.train_dataloader.batch_size
    batches = {'as written': written}
    if memory is not None:
        batches[f'most in {args.memory}'] = planner.largest(memory)
    timing = None
    if not args.no_probe:
        device = args.device if torch.cuda.is_available() else 'cpu'
        timing = probe(cfg, device, written)
    plans = {name: planner.plan(batch, timing) for name, batch in batches.items()}
    each = f'x {planner.gpus}' + (
        f' x {accumulated_batches(cfg)} gathered' if accumulated_batches(cfg) > 1 else ''
    )
    print(table(plans, each))
    if timing is not None:
        at = timing.times[-1][0] if device == 'cuda' else timing.times[0][0]
        own = planner.fake_step if device == args.device else None
        print(measured(timing, device, own.peak(at) if own else 0))
    print('train with --auto-scale-lr --cfg-options train_dataloader.batch_size=...')
    return plans
