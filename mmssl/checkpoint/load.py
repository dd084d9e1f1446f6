"""Load a checkpoint of any known layout into a model, and report what was filled.

Words: a name is *foreign* as the file writes it and *ours* as this package does
(`layouts.layout`); ``foreign`` and ``ours`` hold tensors by such names.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from ..core import UserError
from ..core.protocols import KnowsItsFile
from . import file_kinds, hyperparameters
from .fetch.fetch import local_path
from .fit import advice, describe, misfit, some
from .input_channels import adapt_first_convolutions
from .layouts import Layout, State, detect
from .matching import (
    BRANCHES,
    StateMatch,
    is_backbone_alone,
    is_new,
    match_branches,
    match_state,
)
from .reader.read_file import read

PARTS = ('all', 'backbone')


@dataclass
class Report:
    """Names of the tensors that a load filled and left, by our names (``dropped``: the file's).

    ``computed`` and ``new`` are of the model, and no file needs to have them: buffers that the
    network computes, norms of single maps and mask tokens. ``resized`` are tables of positions of
    another size of images, with the two sizes.
    """

    path: str
    layout: str
    branch: str
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # with the reason behind the name
    computed: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)  # from RGB to the model's channels
    epoch: int | None = None  # epochs done, where the file says so
    model: str = ''  # the class that trained it, where the file says so
    classes: tuple[str, ...] = ()  # names of a classifier's outputs, where the file says so
    note: str = ''  # what was left out of the file of another task

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        text = f'{self.path}: {len(self.matched)} of {total} tensors ({self.layout}, {self.branch})'
        for word, keys in (
            ('missing', self.missing),
            ('unexpected', self.unexpected),
            ('mismatched', self.mismatched),
            ('dropped', self.dropped),
            ('computed', self.computed),
            ('new', self.new),
            ('resized', self.resized),
            ('adapted from RGB', self.adapted),
        ):
            if keys:
                text += f', {len(keys)} {word} ({some(keys)})'
        return text

    def log(self) -> None:
        """Print the report to mmengine's log."""
        print_log(f'loaded {self}', logger='current')
        if self.note:
            print_log(f'{self.path}: {self.note}', logger='current', level=logging.WARNING)


def load(
    model: nn.Module,
    path: str | Path,
    layout: str = 'auto',
    part: str = 'all',
    branch: str = 'export',
    verbose: bool = True,
) -> Report:
    """Fill ``model`` (a Pretrainer, Classifier or Backbone) from a file and report coverage.

    ``part``: 'all' or 'backbone'. ``branch``: 'student' or 'teacher', the branch of the file that
    is taken, or 'export': both where the model has both, else the one meant for downstream use.
    A file with one backbone fills student and teacher alike; of a detector or segmentation network
    the backbone is taken. Tensors go where name and shape (any) agree; a
    first convolution of RGB becomes that of the model's channels. Raises UserError when a
    backbone tensor of the model stays unfilled, a classifier untrained, the file is of another
    kind, or ``part`` or ``branch`` is unknown.
    """
    for key, value, known in (('part', part, PARTS), ('branch', branch, ('export', *BRANCHES))):
        if value not in known:
            raise UserError(
                f"{key}='{value}' is unknown; use one of {', '.join(known)}", key=key, value=value
            )
    path = local_path(path)
    content, note = file_kinds.backbone_of_task(read(path), str(path))
    target = model.state_dict()
    file_layout, foreign = detect(content, str(path), layout, target)
    names_in_model = _names_in_a_model(target)
    ours, dropped = file_layout.translate(foreign, names_in_model)
    if part == 'all' and _is_classifier(target):
        file_kinds.check_classifier(model, file_layout, foreign, ours, str(path))
        if layout == 'auto':
            file_kinds.refuse_unknown_order(model, content, file_layout, str(path))
    else:
        file_kinds.check_pretraining(content, file_layout, foreign, ours, str(path))

    names, taken = match_branches(ours, target, exported(file_layout, content, ours), branch)
    if part == 'backbone':
        names = {k: v for k, v in names.items() if _is_of_backbone(v)}
    unused = set(ours) - set(names.values())
    dropped += [key for key in foreign if file_layout.name_of(key, names_in_model) in unused]

    report = Report(str(path), file_layout.name, taken, dropped=dropped, note=note)
    report.epoch = epochs_done(content, file_layout.epochs_ahead)
    report.model = trained_as(content)
    report.classes = stated_classes(content)
    hyperparameters.compare(model, content, file_layout.name, target, str(path))
    given = {k: ours[v] for k, v in names.items()}
    report.resized = adapt(model, given)
    fill(target, given, part, report)
    if any('backbone.' in name for name in names.values()):
        _tell_backbones(model, report)
    if verbose:
        report.log()
    return report


def _names_in_a_model(target: Iterable[str]) -> set[str]:
    """Return the model's names; those of a Backbone alone as they are within a model."""
    if is_backbone_alone(target):
        return {f'backbone.{key}' for key in target}
    names = set(target)
    for branch in BRANCHES:  # what a file of one network fills
        names.update(name.removeprefix(f'{branch}.') for name in target)
    return names


def adapt(model: nn.Module, given: State) -> list[str]:
    """Bring positions (1, n, C) of a file to the networks of a model, in place.

    ``given`` are the file's tensors by the model's names. Returns what was changed, in words.
    """
    notes = []
    for name, module in model.named_modules():
        if isinstance(module, KnowsItsFile):
            start = f'{name}.' if name else ''
            adapted, changes = module.adapt_positions(_inside(given, start))
            given.update({start + key: value for key, value in adapted.items()})
            notes += [f'{start}{change}' for change in changes]
    return notes


def _tell_backbones(model: nn.Module, report: Report) -> None:
    """Let each backbone know which file filled it."""
    for module in model.modules():
        if isinstance(module, KnowsItsFile):
            module.weights_from = report.path
            module.loaded = report


# what a file says of itself -----------------------------------------------------------------------
def epochs_done(content: dict[str, Any], ahead: int = 0) -> int | None:
    """Return the epochs a training file has behind it: ours, or an official one's counter.

    ``ahead`` is what is added to that counter, `Layout.epochs_ahead`.
    """
    progress = content.get('progress')
    if isinstance(progress, dict):
        done, length = progress.get('iter'), progress.get('per_epoch')
        return done // length if type(done) is type(length) is int and length > 0 else None
    epoch = content.get('epoch')
    return epoch + ahead if type(epoch) is int else None


def trained_as(content: dict[str, Any]) -> str:
    """Return the class of the model that one of our own training files holds, or ''."""
    return _meta_text(content, 'model')


def stated_classes(content: dict[str, Any]) -> tuple[str, ...]:
    """Return the class names of the training data, in the order of the labels, or none.

    They are ``meta.classes`` of our own files, ``meta.dataset_meta.classes`` of OpenMMLab's.
    """
    meta = content.get('meta')
    if not isinstance(meta, dict):
        return ()
    data = meta.get('dataset_meta')
    names = meta.get('classes') or (data.get('classes') if isinstance(data, dict) else None)
    ok = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(names) if ok and names else ()


def exported(layout: Layout, content: dict[str, Any], ours: Iterable[str]) -> str:
    """Return the branch meant for downstream use; our own files say which."""
    if layout.name != 'mmssl':
        return layout.export
    branch = _meta_text(content, 'export')
    if branch in BRANCHES:
        return branch
    # a centre is what methods have whose teacher is exported
    return 'teacher' if 'head.center' in ours else 'student'


def _meta_text(content: dict[str, Any], key: str) -> str:
    """Return a text from the ``meta`` of our own files, or ''."""
    meta = content.get('meta')
    value = meta.get(key) if isinstance(meta, dict) else None
    return value if isinstance(value, str) else ''


def content_state(content: dict[str, Any], path: str) -> State:
    """Return the tensors (any shapes) of one of our own files by name.

    Raises UserError when it is not one of ours.
    """
    return detect(content, path, 'mmssl')[1]


# filling ------------------------------------------------------------------------------------------
@torch.no_grad()
def fill(target: State, ours: State, part: str, report: Report) -> None:
    """Copy tensors into ``target``, in place, where name and shape (any) agree; fill the report.

    Raises UserError when a backbone or a classifier of the model would not be whole.
    """
    backbone_alone = is_backbone_alone(target)
    wanted = target
    if part == 'backbone' and not backbone_alone:
        wanted = {key: value for key, value in target.items() if _is_of_backbone(key)}
    ours, report.adapted = adapt_first_convolutions(wanted, ours)
    match = match_state(wanted, ours)
    report.matched = match.matched
    report.missing = [key for key in match.missing if not is_new(key)]
    report.new = [key for key in match.missing if is_new(key)]
    report.computed = match.computed
    report.mismatched = [f'{key} {reason}' for key, reason in match.mismatched.items()]
    report.unexpected = match.unexpected
    if backbone_alone or any(map(_is_of_backbone, ours)):  # not of a file of a head alone
        _check_backbone(match, report.path, target, ours)
    if part == 'all' and _is_classifier(target):
        _check_classifier(report)
    for key in match.matched:
        target[key].copy_(ours[key])


def _is_of_backbone(key: str) -> bool:
    return '.backbone.' in f'.{key}'


def _is_classifier(target: Iterable[str]) -> bool:
    return 'head.fc.weight' in target and not any(k.startswith('student.') for k in target)


def _check_backbone(match: StateMatch, path: str, target: State, ours: State) -> None:
    """Refuse a backbone that the file fills in part, and one of another network."""
    if not is_backbone_alone(target):
        match = StateMatch(*(_inside_backbones(names) for names in match))
    found = misfit(match, target)
    if found:
        start = _first_backbone(target)
        networks = _inside(ours, start), _inside(target, start)
        raise UserError(
            f'{path}: does not hold this backbone: {describe(found, *networks)}; '
            f'{advice(found, *networks)}',
            key='file',
            value=path,
        )


def _inside_backbones(names: Any) -> Any:
    """Return those of a list or dict of names that lie in a backbone."""
    if isinstance(names, dict):
        return {key: value for key, value in names.items() if _is_of_backbone(key)}
    return [key for key in names if _is_of_backbone(key)]


def _first_backbone(target: Iterable[str]) -> str:
    """Return what stands before the names of a model's first backbone, '' for a Backbone alone."""
    for key in target:
        before, word, _ = f'.{key}'.partition('.backbone.')
        if word:
            return f'{before}{word}'[1:]
    return ''


def _inside(state: State, start: str) -> State:
    """Return the tensors (any shapes) whose names begin so, by the rest of their names."""
    return {key.removeprefix(start): v for key, v in state.items() if key.startswith(start)}


def _check_classifier(report: Report) -> None:
    """Refuse a classifier whose last layer, or its norm, is not the file's."""
    lost = report.missing + report.mismatched + report.unexpected
    lost = [key for key in lost if key.startswith('head.')]
    if lost:
        raise UserError(
            f'{report.path}: does not hold this classifier ({some(lost)}); check num_classes, '
            'blocks, pool and the norm of its head',
            key='file',
            value=report.path,
        )
