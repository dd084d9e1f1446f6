"""Replay a recorded linear probe: features, loss, gradients, rate, the layer afterwards."""

import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from .compare import Group, gradient_error, relative
from .layers import dino, esvit, moby
from .precision import PRECISIONS, check_double

SINGLE = 1e-6  # for accuracies, which EsViT's code averages in single precision
# a case's algorithm -> its run; cases of EsViT name none
RUNS = {'moby': moby, 'dino': dino}
# how the name of a tensor begins -> its group
GROUPS = {
    'lr': 'schedule',
    'loss': 'loss',
    'train_loss': 'loss',
    'val': 'loss',
    'acc': 'accuracy',
    'feat': 'features',
    'logits': 'features',
    'grad': 'gradients',
    'after': 'layer after the steps',
}


class Linear:
    """Comparison of one case; ``groups`` and ``skipped`` hold the outcome."""

    def __init__(
        self, folder: Path, tol: float | None, device: str = 'cpu', dtype: str = 'float64'
    ) -> None:
        check_double(dtype)
        case = json.loads((folder / 'case.json').read_text())
        batch = load_file(folder / 'batch.safetensors')
        self.tol = tol or PRECISIONS[dtype].tol
        self.skipped: list[str] = []
        self.groups = {name: Group(name) for name in dict.fromkeys(GROUPS.values())}
        run = RUNS.get(case.get('algorithm'), esvit)
        found = run(folder, case, batch, device)
        for name, expected in sorted(load_file(folder / 'expect.safetensors').items()):
            self._compare(name, found.get(name), expected)

    @staticmethod
    def holds(folder: Path) -> bool:
        """Whether a case is one of a linear probe."""
        path = folder / 'case.json'
        return path.is_file() and json.loads(path.read_text()).get('kind') == 'evaluation'

    @property
    def ok(self) -> bool:
        """Whether all that was recorded agrees."""
        return not any(group.failures for group in self.groups.values())

    def _compare(self, name: str, ours: Tensor | None, expected: Tensor) -> None:
        kind = next((begin for begin in GROUPS if name.startswith(begin)), None)
        if kind is None:
            self.skipped.append(f'{name}: no probe for this tensor')
            return
        group = self.groups[GROUPS[kind]]
        if ours is None:
            group.add(f'{name} (not found)', float('inf'), self.tol)
        elif kind == 'val':
            group.add(name, relative(ours[0], expected[0]), self.tol)
            error, limit = relative(ours[1:], expected[1:]), max(self.tol, SINGLE)
            self.groups['accuracy'].add(f'{name} top-1, top-5', error, limit)
        elif kind == 'grad':
            group.add(name, gradient_error(ours, expected, self.tol), self.tol)
        else:
            group.add(name, relative(ours, expected), self.tol)
