"""Compare a whole run with the recorded one of an official program, and its resumption."""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmssl.checkpoint import read

from . import run
from .compare import Group, relative
from .names import OfficialNames
from .precision import PRECISIONS, check_double
from .reduced import PREFIX, reduce, unpack
from .reduced import error as reduced_error

GROUPS = (
    *('schedules', 'loss', 'parts of the loss', 'gradient norm', 'curves', 'student', 'teacher'),
    *('queues, centres and heads', 'optimizer', 'resumed'),
)
NOISE = 1e-9  # tensors below are zero but for rounding
ABSOLUTE = 1e-8  # of those, and of tensors that the case calls irreproducible
# values of a step by the program's names -> ours
VALUES = dict(
    lr='lr',
    weight_decay='weight_decay',
    last_weight_decay='smallest_weight_decay',
    momentum='momentum',
    grad_norm='grad_norm',
)
COMPUTED = re.compile(r'(relative_position_index|attn_mask)$')
SCHEDULES = ('lr', 'weight_decay', 'last_weight_decay', 'momentum')

# recorded runs: compared tensors and rows of values
RUNS = {
    'dino_r50_traj_a': 290,
    'dino_vit_2rank_traj_a': 205,
    'dino_vit_traj_a': 261,
    'esvit_continue_traj_a': 478,
    'esvit_swin_2rank_traj_a': 354,
    'esvit_swin_traj_a': 477,
    'esvit_v_traj_a': 409,
    'ibot_vit_traj_a': 212,
    'moby_deit_traj_a': 224,
    'moby_swin_traj_a': 379,
    'mocov2_2rank_traj_a': 284,
    'mocov2_traj_a': 278,
    'mocov3_lars_traj_a': 299,
    'mocov3_vit_2rank_traj_a': 232,
    'mocov3_vit_traj_a': 225,
    'sere_2rank_traj_a': 375,
    'sere_accumulate_traj_a': 365,
    'sere_vit_traj_a': 364,
    'swav_2rank_traj_a': 186,
    'swav_traj_a': 179,
}


class WholeRun:
    """Comparison of one case; ``groups`` and ``skipped`` hold the outcome.

    ``options`` ({'a.b': value}) change the config of the run, such as a fused optimizer; ``train``
    runs it, by the runner or by a plain loop.
    """

    def __init__(
        self,
        folder: Path,
        tol: float | None,
        device: str = 'cpu',
        dtype: str = 'float64',
        options: dict[str, Any] | None = None,
        train: Callable[..., run.Outcome] = run.train,
    ) -> None:
        check_double(dtype)
        case = json.loads((folder / 'case.json').read_text())
        self.block = case['replay']
        self.groups_of_program = len(case['optimizer_param_names'])
        self.resume = case.get('resume')
        self.irreproducible = set(case.get('sensitivity', {}).get('irreproducible', []))
        self.tol = tol or PRECISIONS[dtype].tol
        self.groups = {name: Group(name) for name in GROUPS}
        self.skipped: list[str] = []
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            self.folder = folder = unpack(folder, Path(scratch) / 'case')
            views = Path(scratch) / 'views.pth'
            run.write_views(self.block, folder, views)
            self.expected = load_file(folder / 'expect.safetensors')
            args = (train, self.block['run']['world'], self.block, folder, views)
            whole = run.train_all(*args, Path(scratch) / 'whole', options or {})
            self._compare_run(whole)
            if self.resume:
                file = Path(scratch) / 'whole' / f'epoch_{self.resume["at_epoch"]}.pth'
                rest = run.train_all(*args, Path(scratch) / 'rest', options or {}, str(file))
                self._compare_resumed(whole, rest)

    @staticmethod
    def holds(folder: Path) -> bool:
        """Whether a case is a whole run."""
        path = folder / 'case.json'
        return path.is_file() and json.loads(path.read_text()).get('kind') == 'trajectory'

    @property
    def failures(self) -> list[str]:
        """What does not agree."""
        return [line for group in self.groups.values() for line in group.failures]

    @property
    def ok(self) -> bool:
        """Whether all that was recorded agrees."""
        return not self.failures

    def _compare_run(self, ranks: list[run.Outcome]) -> None:
        first = ranks[0]
        content = read(self.folder / 'official.pth')
        names = OfficialNames(
            content, str(self.folder / 'official.pth'), self.block['method'], first.final
        )
        for name, expected in sorted(self.expected.items()):
            kind, _, key = name.removeprefix(PREFIX).partition('.')
            if kind == 'steps':
                self._values(name, key, first.trace, expected)
            elif kind.startswith('rank'):
                trace = ranks[int(kind.removeprefix('rank'))].trace
                if key.startswith('steps.'):
                    self._values(name, key.removeprefix('steps.'), trace, expected)
            elif kind == 'curve':
                ours = torch.tensor(first.curves.get(key, []), dtype=torch.float64)
                if not len(ours) and key == 'weight_decay':
                    ours = torch.full_like(expected, first.trace[0].values['weight_decay'])
                self._add('curves', name, relative(ours, expected))
            elif kind == 'final':
                self._final(name, key, first.final, names, expected)

    def _values(self, name: str, key: str, trace: list[Any], expected: Tensor) -> None:
        if key == 'last_weight_decay' and self.groups_of_program == 1:
            key = 'weight_decay'
        ours = [step.values.get(VALUES.get(key, key)) for step in trace]
        if None in ours:
            self._add('parts of the loss', f'{name} (not found)', float('inf'))
            return
        group = 'loss' if key == 'loss' else 'parts of the loss'
        if key == 'loss':  # the program divides it before it is written down
            ours = [value / self.block['run'].get('accumulate', 1) for value in ours]
        if key in SCHEDULES:
            group = 'schedules'
        elif key == 'grad_norm':
            group = 'gradient norm'
        self._add(group, name, relative(torch.tensor(ours, dtype=torch.float64), expected))

    def _final(
        self, name: str, key: str, state: dict[str, Tensor], names: OfficialNames, expected: Tensor
    ) -> None:
        ours: Tensor | None
        if COMPUTED.search(key):
            self.skipped.append(f'{name}: computed from the sizes')
            return
        if key.startswith('queue') and key.removeprefix('queue').isdigit():
            ours = self._rows_of_rank(state['head.memory.bank'], int(key.removeprefix('queue')))
            group = 'queues, centres and heads'
        elif key.startswith('optimizer.'):
            parameter, _, entry = key.removeprefix('optimizer.').rpartition('.')
            ours = state.get(f'optimizer.{names(parameter)}.{entry}')
            group = 'optimizer'
        else:
            found = names(key.removeprefix('model.'))
            ours = None if found is None else state.get(found)
            branch = (found or '').partition('.')[0]
            group = branch if branch in self.groups else 'queues, centres and heads'
        if ours is None:
            self._add(group, f'{name} (not found)', float('inf'))
            return
        full_name = name.removeprefix(PREFIX)
        if name != full_name:
            ours = reduce(full_name, ours)
            error = reduced_error(ours, expected)
        else:
            error = relative(ours, expected)
        small = bool(expected.numel()) and float(expected.double().abs().max()) < NOISE
        if (full_name in self.irreproducible or small) and ours.shape == expected.shape:
            difference = float((ours.double() - expected.double()).abs().max())
            self._add(group, f'{name} (absolute)', difference / ABSOLUTE * self.tol)
        else:
            self._add(group, name, error)

    def _rows_of_rank(self, bank: Tensor, rank: int) -> Tensor:
        """Return the rows (A, L/W, D) of SwAV's queue (A, L, D) that one process fills."""
        batch, world = self.block['run']['batch'], self.block['run']['world']
        share = bank.shape[1] // (batch * world) * batch
        return bank[:, rank * share : (rank + 1) * share]

    def _compare_resumed(self, whole: list[run.Outcome], rest: list[run.Outcome]) -> None:
        """Ours continues to the bit; the program's own resumption where it is exact."""
        for rank, (before, after) in enumerate(zip(whole, rest, strict=True)):
            tail = before.trace[-len(after.trace) :]
            same = [a.values == b.values for a, b in zip(tail, after.trace, strict=True)]
            self._add('resumed', f'rank {rank}, {len(same)} steps', 0.0 if all(same) else 1.0)
        # files hold the first rank's statistics of batch norms that are not synchronised
        final = rest[0].final
        changed = [n for n, x in whole[0].final.items() if not torch.equal(x, final[n])]
        self._add('resumed', f'tensors that differ: {changed[:3]}', float(len(changed)))
        if self.resume['loss'] > 1e-14:
            self.skipped.append('resumed.*: the program itself does not continue exactly')
            return
        self._values('resumed', 'loss', rest[0].trace, self.expected['resumed.steps.loss'])

    def _add(self, group: str, name: str, error: float) -> None:
        self.groups[group].add(name, error, self.tol)
