"""Load a checkpoint of any known layout into a model, with a report and never silently."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core import UserError
from . import kinds
from .dialects import Dialect, State, detect
from .fetch import local_path
from .reader import read

SIDES = ('student', 'teacher')


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
    model: str = ''  # the class that trained it, where the file says so

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        text = f'{self.path}: {len(self.matched)} of {total} tensors ({self.dialect}, {self.side})'
        for name in ('missing', 'unexpected', 'mismatched', 'dropped'):
            keys = getattr(self, name)
            if keys:
                text += f', {len(keys)} {name} ({_some(keys)})'
        return text

    def log(self) -> None:
        """Tell it, where there is a log."""
        from mmengine.logging import print_log

        print_log(f'loaded {self}', logger='current')


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

    ``part``: 'all' or 'backbone'. ``side``: 'student' or 'teacher', the branch of the file that
    is taken, or 'export': both where the model has both, else the one meant for downstream use.
    A file with one backbone fills student and teacher alike. Raises UserError when a backbone
    tensor of the model stays unfilled, a classifier untrained, or the file is of another kind.
    """
    if part not in ('all', 'backbone') or side not in ('export', *SIDES):
        raise UserError(f"part '{part}' or side '{side}' is unknown")
    path = local_path(path)
    content = read(path)
    if dialect == 'auto':
        kinds.refuse_other_tasks(content, str(path))
    target = model.state_dict()
    spoken, foreign = detect(content, str(path), dialect, target)
    known = set(target) if any('backbone.' in k for k in target) else _of_backbone(target)
    ours, dropped = spoken.translate(foreign, known)
    if part == 'all' and _is_classifier(target):
        kinds.check_classifier(model, spoken, foreign, ours, str(path))
    else:
        kinds.check(content, spoken, foreign, ours, str(path))
    names, taken = arrange(ours, target, exported(spoken, content, ours), side)
    if part == 'backbone':
        names = {k: v for k, v in names.items() if '.backbone.' in f'.{v}'}
    left = set(ours) - set(names.values())
    dropped += [key for key in foreign if spoken.name_of(key, known) in left]
    report = Report(str(path), spoken.name, taken, dropped=dropped, epoch=epochs_done(content))
    report.model = trained_as(content)
    fill(target, {k: ours[v] for k, v in names.items()}, part, report)
    if any('backbone.' in name for name in names.values()):
        _sign(model, report)
    if verbose:
        report.log()
    return report


def _sign(model: nn.Module, report: Report) -> None:
    """Let each backbone know which file filled it."""
    backbones: list[Any] = [m for m in model.modules() if hasattr(m, 'weights_from')]
    for backbone in backbones:
        backbone.weights_from, backbone.loaded = report.path, report


def epochs_done(content: dict[str, Any]) -> int | None:
    """Return the epochs a training file has behind it: ours, or an official one's counter."""
    progress = content.get('progress')
    if isinstance(progress, dict):
        done, length = progress.get('iter'), progress.get('per_epoch')
        return done // length if type(done) is type(length) is int and length > 0 else None
    epoch = content.get('epoch')
    return epoch if isinstance(epoch, int) else None


def trained_as(content: dict[str, Any]) -> str:
    """Return the class of the model that one of our own training files holds, or nothing."""
    meta = content.get('meta')
    said = meta.get('model') if isinstance(meta, dict) else None
    return said if isinstance(said, str) else ''


def exported(spoken: Dialect, content: dict[str, Any], ours: Iterable[str]) -> str:
    """Return the side meant for downstream use; our own files say it."""
    if spoken.name != 'mmssl':
        return spoken.export
    meta = content.get('meta')
    said = meta.get('export') if isinstance(meta, dict) else None
    # a centre is what methods have whose teacher is exported
    return said if said in SIDES else 'teacher' if 'head.center' in ours else 'student'


def _of_backbone(target: Iterable[str]) -> set[str]:
    """Return the names that a bare Backbone's tensors have within a model."""
    return {f'backbone.{key}' for key in target}


def _is_classifier(target: Iterable[str]) -> bool:
    return 'head.fc.weight' in target and not any(k.startswith('student.') for k in target)


def arrange(
    ours: Iterable[str], target: Iterable[str], export: str, side: str
) -> tuple[dict[str, str], str]:
    """Return ({name in the model: our name in the file}, the side that is taken)."""
    has = {s for s in SIDES if any(k.startswith(f'{s}.') for k in ours)}
    wants = [s for s in SIDES if any(k.startswith(f'{s}.') for k in target)]
    taken = export if side == 'export' else side
    if has and taken not in has:
        raise UserError(f"the file has no {taken}; side='{next(iter(has))}' is what it has")
    one = f'{taken}.' if has else ''
    if not wants:
        single = {k.removeprefix(one): k for k in ours if k.startswith(f'{one}backbone.')}
        if not any(k.startswith('backbone.') for k in target):  # a bare Backbone
            return {k.removeprefix('backbone.'): v for k, v in single.items()}, taken
        if not has:
            single |= {k: k for k in ours if k.startswith('head.')}
        return single, taken
    if side == 'export' and has.issuperset(wants):
        return {k: k for k in ours}, 'both'
    part = one or 'backbone.'
    both = {f'{s}.{k.removeprefix(one)}': k for s in wants for k in ours if k.startswith(part)}
    rest = {k: k for k in ours if has and not k.startswith(('student.', 'teacher.'))}
    # a teacher may lack what a student has, such as a mask token
    return {k: v for k, v in both.items() if k in target or k[:7] == 'student'} | rest, (
        'both from one'
    )


@torch.no_grad()
def fill(target: State, ours: State, part: str, report: Report) -> None:
    """Copy tensors by name and complete the report; raise when the backbone is not whole."""
    bare = not any('backbone.' in key for key in target)  # the model is a Backbone itself

    def of_backbone(key: str) -> bool:
        return bare or '.backbone.' in f'.{key}'

    for key, value in target.items():
        if part == 'backbone' and not of_backbone(key):
            continue
        if key not in ours:
            report.missing.append(key)
        elif wrong := _differs(ours[key], value):
            report.mismatched.append(f'{key} {wrong}')
        else:
            value.copy_(ours[key])
            report.matched.append(key)
    report.unexpected = [key for key in ours if key not in target]
    head_only = not any(of_backbone(key) for key in ours)
    bad = [k for k in report.missing if of_backbone(k) and not head_only]
    bad += [k for k in report.mismatched if of_backbone(k)]
    if bad:
        raise UserError(
            f'{report.path}: does not hold this backbone: {len(bad)} tensors missing or of '
            f'another shape ({_some(bad)}); check that the config names the same network'
        )
    if part == 'all' and _is_classifier(target):
        bad = [
            k for k in report.missing + report.mismatched + report.unexpected if k[:5] == 'head.'
        ]
        if bad:
            raise UserError(
                f'{report.path}: does not hold this classifier ({_some(bad)}); check num_classes, '
                'blocks, pool and the norm of its head'
            )


def _differs(given: Tensor, wanted: Tensor) -> str:
    """Say why one tensor cannot take another's values, or nothing."""
    if given.shape != wanted.shape:
        return f'{tuple(given.shape)} for {tuple(wanted.shape)}'
    if given.is_floating_point() != wanted.is_floating_point() or given.is_complex():
        return f'{given.dtype} for {wanted.dtype}'.replace('torch.', '')
    if given.is_floating_point() and not bool(given.isfinite().all()):
        return 'with numbers that are not finite'
    return ''


def content_state(content: dict[str, Any], path: str) -> State:
    """Return the tensors of one of our own files by name."""
    return detect(content, path, 'mmssl')[1]
