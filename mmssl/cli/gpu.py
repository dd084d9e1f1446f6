"""Check that mmssl works on this machine's GPU: exactness, trainings, processes, speed, learning.

Writes gpu.json and gpu.html after every check and ends with a verdict in one line; exit status 0
when all that was run passed, 1 when something failed. Without a GPU it checks what a CPU can.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..core.device import missing_gpu
from ..core.errors import at_least
from ..gpu_check.checks import CHECKS
from ..gpu_check.learning import check_data
from ..gpu_check.session import Session, total_seconds
from .options import select_by_prefix


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for a budget below 1 and unusable --data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu'), help='folder to write')
    parser.add_argument(
        '--budget', type=int, help='seconds for all; checks that no longer fit are skipped'
    )
    parser.add_argument(
        '--data', type=Path, help='images to learn on, such as CIFAR-10: train/ and test/ or val/'
    )
    names = ', '.join(check.name for check in CHECKS)
    parser.add_argument('--only', nargs='+', help=f'checks by the beginning of a name: {names}')
    args = parser.parse_args(argv)
    if args.budget is not None:
        at_least('--budget', args.budget)
    if args.data is not None:
        check_data(args.data)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the checks, print the verdict and leave with its status."""
    args = parse(argv)
    chosen = [check.name for check in CHECKS]
    if args.only:
        chosen = select_by_prefix('--only', args.only, chosen)
    checks = [check for check in CHECKS if check.name in chosen]
    gpu = torch.cuda.is_available()
    device = 'cuda' if gpu else 'cpu'
    reason = '' if gpu else missing_gpu() or 'torch sees none'
    budget = args.budget or total_seconds(checks, device)
    session = Session(checks, args.out, device, budget, reason, args.data)
    verdict = session.run(lambda line: print(line, flush=True))
    print(f'{args.out / "gpu.html"}, {args.out / "gpu.json"}')
    print(f'gpu: {verdict.line}')
    sys.exit(verdict.status)
