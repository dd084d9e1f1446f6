"""Replay a recorded step, whole run, kNN or linear probe of an official code, compare all tensors.

Prints one line per group (loss, its parts, features, gradients, state after the step) with the
largest relative error, then OK or FAILED, and exits 0 or 1.
"""

import argparse
import json
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mmssl.cli.options import OptionAction
from mmssl.core import UserError
from mmssl.core.io import atomic_write

from .compare import Group, gradient_error, relative
from .linear import Linear
from .neighbours import Neighbours
from .precision import PRECISIONS, check_device, tf32
from .reduced import PREFIX, mask, reduce
from .reduced import error as reduced_error
from .step import Step
from .whole import WholeRun

GROUPS = ('schedule', 'loss', 'parts of the loss', 'features', 'gradients', 'state after the step')


MANDATORY = ('loss', 'feat', 'proj', 'pred', 'logits', 'grad', 'after')
# scalars of the expectations -> values the engine used
SCALARS = {
    'sched.lr': 'lr',
    'sched.moco_m': 'momentum',
    'lr_used': 'lr',
    'lr_after_step': 'lr_next',
    'momentum': 'momentum',
}


def present(path: Path) -> Path:
    """Return the path of a file that exists."""
    if not path.is_file():
        raise UserError(f'{path}: no such file')
    return path


class Replay:
    """Comparison of one case; ``groups`` and ``skipped`` hold the outcome.

    The step is taken on ``device`` in one of `PRECISIONS`; without ``tol`` its own limit holds.
    """

    def __init__(
        self, folder: Path, tol: float | None, device: str = 'cpu', dtype: str = 'float64'
    ) -> None:
        self.precision = PRECISIONS[dtype]
        case = json.loads(present(folder / 'case.json').read_text())
        if 'replay' not in case:
            raise UserError(
                f'{folder}: not a recorded step (kind: {case.get("kind")}), so there is nothing to '
                'replay; tests/test_golden compares such cases'
            )
        self.block, self.tol = case['replay'], tol or self.precision.tol
        self.gradient_tol = tol or self.precision.gradient_tol
        batch = load_file(present(folder / 'batch.safetensors'))
        present(folder / 'expect.safetensors')
        self.expected: dict[str, torch.Tensor] = {}
        for file in sorted(folder.glob('expect*.safetensors')):
            self.expected |= load_file(file)
        self.reduced = {n.removeprefix(PREFIX) for n in self.expected if n.startswith(PREFIX)}
        self.expected = {n.removeprefix(PREFIX): x for n, x in self.expected.items()}
        with tf32(self.precision.tf32):
            self.step = Step(folder, self.block, batch, device, self.precision)
        self.groups = {name: Group(name) for name in GROUPS}
        self.skipped: list[str] = []
        self._schedules()
        if self.precision.min_cosine is None:
            for name in sorted(self.expected):
                self._compare(name, self.expected[name])
        else:
            self._compare('loss', self.expected['loss'])
            self._direction(self.precision.min_cosine)

    @property
    def ok(self) -> bool:
        """Whether every mandatory tensor was found and agrees."""
        return not any(group.failures for group in self.groups.values())

    def _schedules(self) -> None:
        for name, value in self.block['used'].items():
            if name not in self.step.used:
                raise UserError(
                    f'used.{name}: no such schedule; known: {", ".join(self.step.used)}'
                )
            ours = torch.tensor(self.step.used[name], dtype=torch.float64)
            self._add('schedule', name, relative(ours, torch.tensor(value, dtype=torch.float64)))

    def _direction(self, min_cosine: float) -> None:
        """Compare the gradient of all parameters as one vector: 1 - cosine."""
        names = [n for n in sorted(self.expected) if n.startswith('grad.')]
        names = [name for name in names if name not in self.reduced]
        ours = [self.step.grads[str(self.step.name_of(n.removeprefix('grad.')))] for n in names]
        first, second = (
            torch.cat([x.flatten().double() for x in part])
            for part in (ours, [self.expected[name] for name in names])
        )
        cosine = float(torch.nn.functional.cosine_similarity(first, second, dim=0))
        self.groups['gradients'].add('1 - cosine of all', 1 - cosine, 1 - min_cosine)

    def _add(self, group: str, name: str, error: float) -> None:
        late = group in ('gradients', 'state after the step')
        self.groups[group].add(name, error, self.gradient_tol if late else self.tol)

    def _error(
        self,
        name: str,
        ours: torch.Tensor,
        expected: torch.Tensor,
        steady: torch.Tensor | None = None,
    ) -> float:
        """Return the error of a gradient or tensor, or of what stands for it."""
        if name not in self.reduced:
            return self._gradient_error(ours, expected)
        which = None if steady is None else mask(name, steady)
        numbers = reduce(name, ours)
        noise = self.precision.noise
        if expected[0] < noise:  # all rounding: compared absolutely
            return float((numbers[0] - expected[0]).abs()) / noise * self.gradient_tol
        return reduced_error(numbers, expected, which)

    def _gradient_error(self, ours: torch.Tensor, expected: torch.Tensor) -> float:
        return gradient_error(ours, expected, self.gradient_tol, self.precision.noise)

    def _compare(self, name: str, expected: torch.Tensor) -> None:
        kind, _, key = name.partition('.')
        if kind in ('grad', 'grad_clipped', 'gradnorm', 'grad_after_larc'):
            self._gradient(kind, name, key, expected)
        elif kind in ('after', 'afternorm'):
            self._state(kind, name, key, expected)
        elif name in SCALARS:
            ours = torch.tensor(self.step.used[SCALARS[name]], dtype=torch.float64)
            self._add('schedule', name, relative(ours, expected.reshape(()).double()))
        elif f'{name} (patches)' in self.step.found:
            ours = self.step.found[f'{name} (patches)']
            self._add('features', f'{name} (patches)', relative(ours, expected[:, 1:]))
        elif name in self.step.found:
            group = 'features'
            if kind.startswith('loss'):
                group = 'loss' if name == 'loss' else 'parts of the loss'
            self._add(group, name, relative(self.step.found[name], expected))
        elif name == 'grad_total_norm':
            norm = torch.stack([g.norm() for g in self.step.grads.values()]).norm()
            self._add('gradients', name, relative(norm, expected.reshape(())))
        elif kind.split('_')[0] in MANDATORY:
            self._add('features', f'{name} (not found)', float('inf'))
        else:
            self.skipped.append(f'{name}: no probe for this inner tensor')

    def _gradient(self, kind: str, name: str, key: str, expected: torch.Tensor) -> None:
        ours = self.step.name_of(key)
        sources = {'grad_clipped': self.step.clipped, 'grad_after_larc': self.step.rescaled}
        source = sources.get(kind, self.step.grads)
        if ours is None or ours not in source:
            self._add('gradients', f'{name} (not found)', float('inf'))
            return
        value = source[ours]
        value = value.norm() if kind == 'gradnorm' else value
        self._add('gradients', name, self._error(name, value, expected))

    def _state(self, kind: str, name: str, key: str, expected: torch.Tensor) -> None:
        if key in self.block.get('irreproducible', []):
            self.skipped.append(f'{name}: irreproducible, says the case')
            return
        if key.startswith('optimizer.'):
            self._moment(name, key.removeprefix('optimizer.'), expected)
            return
        ours = key if key in self.step.after else self.step.name_of(key)
        if ours is None or ours not in self.step.after:
            self._add('state after the step', f'{name} (not found)', float('inf'))
            return
        value = self.step.after[ours]
        steady = self._steady(ours)
        if kind == 'afternorm':
            if steady is not None and not steady.all():
                self.skipped.append(f'{name}: some of its elements move by amplified rounding')
                return
            value = value.norm()
        elif steady is not None and value.shape in (expected.shape, steady.shape):
            if not steady.any():
                self.skipped.append(f'{name}: its gradient is zero, the optimizer moves rounding')
                return
            if name not in self.reduced:
                value, expected = value[steady], expected[steady]
        # a running mean behind a norm without shift is zero but for rounding, as such gradients
        self._add('state after the step', name, self._error(name, value, expected, steady))

    def _moment(self, name: str, key: str, expected: torch.Tensor) -> None:
        entry, _, parameter = key.partition('.')
        if parameter in self.block.get('irreproducible', []):
            self.skipped.append(f'{name}: irreproducible, says the case')
            return
        theirs = self.step.name_of(parameter)
        ours = self.step.moments.get(f'{entry}.{theirs}')
        if ours is None or theirs is None:
            self._add('state after the step', f'{name} (not found)', float('inf'))
            return
        steady = self._steady(theirs)
        # moments of a gradient that is all rounding are rounding too; others are not amplified
        rounding = steady is not None and not steady.any()
        if rounding or name in self.reduced:
            self._add('state after the step', name, self._error(name, ours, expected))
        else:
            self._add('state after the step', name, relative(ours, expected))

    def _steady(self, ours: str) -> torch.Tensor | None:
        """Elements that an adaptive optimizer moves reproducibly; None when all are."""
        student = ours
        if self.step.model.teacher_update == 'after' and ours.startswith('teacher.'):
            student = 'student.' + ours.removeprefix('teacher.')
        grad = self.step.grads.get(student)
        if grad is None or self.block['optimizer']['type'] in ('SGD',):
            return None
        largest = grad.abs().max()
        if largest < self.precision.noise:
            return torch.zeros_like(grad, dtype=torch.bool)
        return grad.abs() >= self.precision.noise * largest


def start(case: Path, args: argparse.Namespace, dtype: str) -> Any:
    """Replay a case. Raises UserError for options with anything but a whole run."""
    kind = kind_of(case)
    if kind is WholeRun:
        return WholeRun(case, args.tol, args.device, dtype, args.cfg_options)
    if args.cfg_options:
        raise UserError(
            '--cfg-options are for whole runs; a step has the parts that the case names',
            key='--cfg-options',
            value=args.cfg_options,
        )
    return kind(case, args.tol, args.device, dtype)


def kind_of(folder: Path) -> type[Replay] | type[Neighbours] | type[Linear] | type[WholeRun]:
    """Return what replays a case."""
    return next((kind for kind in (Neighbours, Linear, WholeRun) if kind.holds(folder)), Replay)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('case', type=Path, nargs='+', help='folder with case.json and its files')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument(
        '--dtype',
        nargs='+',
        choices=PRECISIONS,
        default=['float64'],
        help='formats of numbers, one after the other; others than float64 are for steps',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        default={},
        help='key=value, merged into the config of a whole run, such as '
        'model.backbone.with_cp=True',
    )
    parser.add_argument('--tol', type=float, help="default: the format's own, 1e-9 for float64")
    parser.add_argument('--verbose', action='store_true', help='print the error of every tensor')
    parser.add_argument('--out', type=Path, help='JSON file for the outcome, renewed after each')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay, print, and return the exit status."""
    args = parse(argv)
    jobs = [(case, dtype) for dtype in args.dtype for case in args.case]
    outcomes: list[dict[str, Any]] = []
    for case, dtype in jobs:
        if len(jobs) > 1:
            print(f'{case.name}, {dtype}')
        began = time.perf_counter()
        errors: dict[str, float] = {}
        try:
            check_device(args.device)
            replay = start(case, args, dtype)
            describe(replay, args.verbose)
            errors = {g.name: g.worst for g in replay.groups.values() if g.count}
            failures = [line for group in replay.groups.values() for line in group.failures]
        except (UserError, OSError) as error:
            print(f'error: {error}\nFAILED')
            failures = [str(error)]
        except (RuntimeError, LookupError, ValueError) as error:
            # of a kernel, or of a case of another kind: the others are still worth knowing
            traceback.print_exc()
            print('FAILED')
            failures = [f'{type(error).__name__}: {error}']
        seconds = time.perf_counter() - began
        outcomes.append(
            dict(case=case.name, dtype=dtype, seconds=seconds, errors=errors, failures=failures)
        )
        if args.out:
            atomic_write(args.out, json.dumps(outcomes, indent=1))
    return 1 if any(outcome['failures'] for outcome in outcomes) else 0


def describe(replay: Any, verbose: bool) -> None:
    """Print a line for each group and failure, and what was skipped."""
    for group in replay.groups.values():
        if group.count:
            print(
                f'{group.name:22} {group.count:4} tensors, largest error {group.worst:.2e} '
                f'({group.worst_name})'
            )
        for failure in group.failures:
            print(f'    {failure}')
        for name, error in group.errors.items() if verbose else []:
            print(f'    {error:.2e} {name}')
    print(f'{"skipped":22} {len(replay.skipped):4} tensors')
    for line in replay.skipped:
        print(f'    {line}')
    print('OK' if replay.ok else 'FAILED')
