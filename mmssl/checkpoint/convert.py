"""Load a checkpoint of any known layout into a model, with a report and never silently."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core import UserError
from .dialects import Dialect, State, detect
from .fetch import local_path
from .reader import read


@dataclass
class Report:
    """What a load did, by our names (``dropped`` by the file's)."""

    path: str
    dialect: str
    side: str
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    epoch: int | None = None  # epochs done, where the file says so

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        text = f'{self.path}: {len(self.matched)} of {total} tensors ({self.dialect}, {self.side})'
        for name in ('missing', 'unexpected', 'mismatched', 'dropped'):
            keys = getattr(self, name)
            if keys:
                text += f', {len(keys)} {name} ({_some(keys)})'
        return text


def _some(keys: list[str], count: int = 3) -> str:
    return ', '.join(keys[:count]) + (', ...' if len(keys) > count else '')


def load(
    model: nn.Module,
    path: str | Path,
    dialect: str = 'auto',
    part: str = 'all',
    side: str = 'export',
    verbose: bool = True,
) -> Report:
    """Fill ``model`` (a Pretrainer, Classifier or Backbone) from a file and report coverage.

    ``part``: 'all' or 'backbone'. ``side``: 'export', 'student' or 'teacher', the branch of the
    file that fills a single backbone. A file with one backbone fills student and teacher alike.
    Raises UserError when a backbone tensor of the model stays unfilled.
    """
    if part not in ('all', 'backbone') or side not in ('export', 'student', 'teacher'):
        raise UserError(f"part '{part}' or side '{side}' is unknown")
    path = local_path(path)
    content = read(path)
    spoken, foreign = detect(content, str(path), dialect)
    target = model.state_dict()
    ours, dropped = spoken.translate(foreign, target)
    ours, taken = arrange(ours, target, spoken, side)
    report = Report(str(path), spoken.name, taken, dropped=dropped, epoch=epochs_done(content))
    fill(model, target, ours, part, report)
    if verbose:
        from mmengine.logging import print_log

        print_log(f'loaded {report}', logger='current')
    return report


def epochs_done(content: dict[str, Any]) -> int | None:
    """Return the epochs a training file has behind it: ours, or an official one's counter."""
    progress = content.get('progress')
    if isinstance(progress, dict):
        return progress['iter'] // progress['per_epoch']
    epoch = content.get('epoch')
    return epoch if isinstance(epoch, int) else None


def arrange(ours: State, target: State, spoken: Dialect, side: str) -> tuple[State, str]:
    """Fit names to the model's: both branches, or one backbone taken from one side."""
    two_sided = any(key.startswith('student.') for key in ours)
    taken = spoken.export if side == 'export' else side
    if any(key.startswith('student.') for key in target):
        if not two_sided:
            single = {k: v for k, v in ours.items() if k.startswith('backbone.')}
            both = {f'{s}.{k}': v for s in ('student', 'teacher') for k, v in single.items()}
            return {k: v for k, v in both.items() if k in target}, 'both from one'
        return ours, 'both'
    if two_sided:
        start = f'{taken}.'
        ours = {k.removeprefix(start): v for k, v in ours.items() if k.startswith(start)}
    if not any(key.startswith('backbone.') for key in target):  # a bare Backbone
        ours = {
            k.removeprefix('backbone.'): v for k, v in ours.items() if k.startswith('backbone.')
        }
    return ours, taken


@torch.no_grad()
def fill(model: nn.Module, target: State, ours: State, part: str, report: Report) -> None:
    """Copy tensors by name and complete the report; raise when the backbone is not whole."""
    bare = not any('backbone.' in key for key in target)  # the model is a Backbone itself

    def of_backbone(key: str) -> bool:
        return bare or '.backbone.' in f'.{key}'

    for key, value in target.items():
        if part == 'backbone' and not of_backbone(key):
            continue
        if key not in ours:
            report.missing.append(key)
        elif ours[key].shape != value.shape:
            report.mismatched.append(f'{key} {_shape(ours[key])} for {_shape(value)}')
        else:
            value.copy_(ours[key])
            report.matched.append(key)
    if part == 'all':
        report.unexpected = [key for key in ours if key not in target]
    bad = [k for k in report.missing if of_backbone(k)]
    bad += [k for k in report.mismatched if of_backbone(k)]
    if bad:
        raise UserError(
            f'{report.path}: does not hold this backbone: {len(bad)} tensors missing or of '
            f'another shape ({_some(bad)}); check that the config names the same network'
        )


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def content_state(content: dict[str, Any], path: str) -> State:
    """Return the tensors of one of our own files by name."""
    return detect(content, path, 'mmssl')[1]
