"""The teacher of a branch: its copy, its EMA update, and the reset to the student.

When it is updated: `is_due`, which `Pretrainer.begin_update` and `end_step` ask.
"""

import copy

import torch
from timm.layers import DropPath
from torch import nn

from .branch import Branch


def make_teacher(student: Branch) -> Branch:
    """Copy the student, without gradients and without drop path, left in train mode.

    Train mode is upstream's choice everywhere: the teacher's batch norms use its own batch
    statistics and move their own running ones.
    """
    teacher = copy.deepcopy(student).requires_grad_(False)
    for module in teacher.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return teacher


def is_due(teacher_update: str | None, moment: str) -> bool:
    """Whether a teacher moves at a ``moment`` of an update: 'before' the forward, 'after' the step.

    ``teacher_update`` is the method's; asked at both moments of every update of the optimizer.
    """
    return teacher_update == moment


@torch.no_grad()
def update_teacher(student: nn.Module, teacher: nn.Module, momentum: float) -> None:
    """Set teacher = momentum * teacher + (1 - momentum) * student, for parameters only.

    Batch-norm statistics are never averaged: the teacher keeps its own.
    """
    theirs = dict(teacher.named_parameters())
    pairs = [(theirs[n], p) for n, p in student.named_parameters() if n in theirs]
    targets, sources = [t.detach() for t, _ in pairs], [s.detach() for _, s in pairs]
    torch._foreach_lerp_(targets, sources, 1 - momentum)


@torch.no_grad()
def copy_teacher(student: nn.Module, teacher: nn.Module) -> None:
    """Copy the student's parameters and buffers to the teacher, where both have the entry."""
    own = student.state_dict()
    for name, value in teacher.state_dict().items():
        if name in own:
            value.copy_(own[name])
