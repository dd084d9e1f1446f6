"""Replay a recorded run on this machine and find the first step that departs from it.

tools/train.py --record FILE records one. What is compared: losses, rates and temperatures, the
gradient of every tensor before clipping, every weight and buffer after each step. Exits 0 when all
steps agree, 1 when one departs.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.load import load_config
from ..core.launch import LAUNCHERS
from ..core.precision import DTYPES
from ..replay import Comparison, Record, read_record, replay
from .options import OptionAction


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('record', type=Path, help='file that --record has written')
    parser.add_argument('--steps', type=int, help='the first so many alone')
    parser.add_argument('--device', choices=('cpu', 'cuda'), help='default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='type of weights and images')
    parser.add_argument(
        '--tol', type=float, help='largest relative difference that is no departure'
    )
    parser.add_argument('--config', help='take settings and classes from this config')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value, merged last'
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Replay and print. Raises SystemExit with status 1 when a step departs."""
    args = parse(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    record = read_record(args.record)
    describe(record)
    options: dict[str, Any] = dict(args.cfg_options)
    if args.dtype:
        options['dtype'] = args.dtype
    settings = load_config(args.config).to_dict() if args.config else None
    found = replay(
        args.record,
        steps=args.steps,
        limit=args.tol,
        settings=settings,
        options=options,
        launcher=args.launcher,
    )
    show(found)
    if found.departure:
        raise SystemExit(1)


def describe(record: Record) -> None:
    """Print what was recorded, where."""
    meta, machine = record.start['meta'], record.machine['machine']
    device = ', '.join(machine['gpus']) or machine['processor']
    versions = ', '.join(f'{k} {v}' for k, v in record.machine['versions'].items())
    print(
        f'{meta["model"]}: {len(record.trace)} steps of {record.images} images from iteration '
        f'{record.first} on, recorded on {device} by {machine["processes"]} processes ({versions})'
    )


def show(found: Comparison) -> None:
    """Print a line for each step, and the first departure."""
    for row in found.largest:
        parts = [f'{kind} {d.error:.1e} ({d.name})' for kind, d in row.items()]
        number = next(iter(row.values())).step
        print(f'step {number:3}  largest relative differences: {", ".join(parts)}')
    if not found.departure:
        print(f'all {len(found.largest)} steps agree within {found.limit:g}')
        return
    print(f'the first step that departs by more than {found.limit:g}:')
    for difference in found.departure:
        print(f'  {difference}')
