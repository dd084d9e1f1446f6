"""Replay a recorded kNN: accuracies, answers and votes of the official function."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmssl.evaluation.knn import accuracy, knn

from .compare import Group, relative
from .precision import PRECISIONS, check_double

NAME = re.compile(r'(?:(votes|pred)\.)?k(\d+)_T([\d.]+?)(?:_C(\d+))?(?:\.top1_top5)?')


class Neighbours:
    """Comparison of one case; ``groups`` and ``skipped`` hold the outcome.

    Top-5 is left out where classes of equal votes, such as none, stand at its edge: their order
    is the sort's.
    """

    def __init__(
        self, folder: Path, tol: float | None, device: str = 'cpu', dtype: str = 'float64'
    ) -> None:
        check_double(dtype)
        batch = load_file(folder / 'batch.safetensors')
        self.labels, self.tol = batch['test_labels'], tol or PRECISIONS[dtype].tol
        self.classes = int(batch['train_labels'].max()) + 1
        place: dict[str, Any] = dict(device=device, dtype=torch.float64)
        self.given = [batch[f'{part}_features'].to(**place) for part in ('train', 'test')]
        self.bank_labels = batch['train_labels'].to(device)
        self.groups = {name: Group(name) for name in ('accuracy', 'answers', 'votes')}
        self.skipped: list[str] = []
        for name, expected in sorted(load_file(folder / 'expect.safetensors').items()):
            self._compare(name, expected)

    @staticmethod
    def holds(folder: Path) -> bool:
        """Whether a case is one of kNN."""
        batch = folder / 'batch.safetensors'
        return batch.is_file() and 'train_features' in load_file(batch)

    @property
    def ok(self) -> bool:
        """Whether all that was recorded agrees."""
        return not any(group.failures for group in self.groups.values())

    def _compare(self, name: str, expected: Tensor) -> None:
        parts = NAME.fullmatch(name)
        if not parts:
            self.groups['accuracy'].add(f'{name} (not understood)', float('inf'), self.tol)
            return
        what, k, temperature, classes = parts.groups()
        bank, queries = self.given
        wide = int(classes or self.classes)
        votes = knn(bank, self.bank_labels, queries, int(k), float(temperature), wide).cpu()
        if what == 'votes':
            self.groups['votes'].add(name, relative(votes, expected), self.tol)
        elif what == 'pred':
            wrong = (votes.argmax(1) != expected).double().mean()
            self.groups['answers'].add(name, float(wrong), self.tol)
        else:
            self._accuracy(name, votes, expected)

    def _accuracy(self, name: str, votes: Tensor, expected: Tensor) -> None:
        both = [accuracy(votes, self.labels, top) for top in (1, 5)]
        ours = torch.tensor(both, dtype=torch.float64)
        self.groups['accuracy'].add(f'{name} top-1', relative(ours[0], expected[0]), self.tol)
        own = votes.gather(1, self.labels[:, None])
        above, equal = (votes > own).sum(1), (votes == own).sum(1)
        if ((above < 5) & (above + equal > 5)).any():
            self.skipped.append(f'{name} top-5: classes of equal votes at its edge')
        else:
            self.groups['accuracy'].add(f'{name} top-5', relative(ours[1], expected[1]), self.tol)
