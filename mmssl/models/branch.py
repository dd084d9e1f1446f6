"""Backbone plus named necks: the unit that is copied to make a teacher."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from ..core import UserError
from ..core.views import equal_runs
from ..registry import MODELS
from .backbones import Features
from .backbones.recompute import recomputed


class Branch(nn.Module):
    """An encoder with its projections; ``neck`` is one config or a dict of named ones.

    A single neck has the name 'project'. With ``size_by_size`` the backward holds the activations
    of one size of views at a time: those of all but the last are computed again.
    """

    backbone: Any  # a Backbone
    neck: Any

    def __init__(self, backbone: dict, neck: dict, size_by_size: bool = False) -> None:
        super().__init__()
        self.size_by_size = size_by_size
        self.backbone = MODELS.build(backbone)
        necks = {'project': neck} if 'type' in neck else neck
        self.neck = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in necks.items()})
        for name, part in self.neck.items():
            takes, given = getattr(part, 'takes', None), self.backbone.num_features
            if takes not in (None, given):
                raise UserError(
                    f"the neck '{name}' takes {takes} channels, the backbone gives {given}; "
                    'correct the first width of neck.dims'
                )

    def forward(self, view: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): batch norms see this view alone (MoCo, MoBY)."""
        return self.neck['project'](self.backbone.encode(view).pooled)

    def encode(
        self, views: Sequence[Tensor], mask: Tensor | None = None, last: bool = True
    ) -> list[Features]:
        """Features of each view, one backbone pass per run of equal sizes (SwAV, DINO).

        ``last`` says that no more views of this step follow.
        """
        features: list[Features] = []
        encode, runs = self.backbone.encode, equal_runs(views)
        for i, run in enumerate(runs):
            ends = last and i == len(runs) - 1  # the backward begins here, its activations stay
            if self.size_by_size and not ends and torch.is_grad_enabled():
                joint = recomputed(self.backbone, encode, torch.cat(run), mask)
            else:
                joint = encode(torch.cat(run), mask)
            features += joint.split(len(run[0]))
        return features

    def project(self, name: str, xs: Sequence[Tensor]) -> list[Tensor]:
        """Run one neck once over all views: (B, C) or (B, N, C) each."""
        if xs[0].dim() == 2:
            return list(self.neck[name](torch.cat(list(xs))).split([len(x) for x in xs]))
        rows = self.neck[name](torch.cat([x.flatten(0, 1) for x in xs]))
        parts = rows.split([x.shape[0] * x.shape[1] for x in xs])
        return [p.unflatten(0, x.shape[:2]) for p, x in zip(parts, xs, strict=True)]


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


@torch.no_grad()
def move_teacher(student: nn.Module, teacher: nn.Module, momentum: float) -> None:
    """teacher = momentum * teacher + (1 - momentum) * student, parameters only.

    Batch-norm statistics are never averaged: the teacher keeps its own.
    """
    theirs = dict(teacher.named_parameters())
    pairs = [(theirs[n], p) for n, p in student.named_parameters() if n in theirs]
    targets, sources = [t.detach() for t, _ in pairs], [s.detach() for _, s in pairs]
    torch._foreach_lerp_(targets, sources, 1 - momentum)


@torch.no_grad()
def copy_teacher(student: nn.Module, teacher: nn.Module) -> None:
    """Make the teacher equal to the student, buffers included, where both have the entry."""
    own = student.state_dict()
    for name, value in teacher.state_dict().items():
        if name in own:
            value.copy_(own[name])
