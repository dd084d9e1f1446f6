"""Branch: a backbone with named necks; the teacher is a copy of the student's."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from ..core import UserError
from ..core.protocols import dims_of
from ..registry import MODELS
from .backbones import Features, build_backbone


class Branch(nn.Module):
    """A backbone with its projections; ``neck`` is one config or a dict of named ones.

    ``backbone`` is a config, or a module as `build_backbone` takes it. A single neck has the name
    'project'. Raises UserError for a neck that takes another width than
    the backbone gives.
    """

    backbone: Any  # a Backbone
    neck: Any

    def __init__(self, backbone: dict[str, Any] | nn.Module, neck: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone)
        necks = {'project': neck} if 'type' in neck else neck
        self.neck = nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in necks.items()})
        given = self.backbone.num_features
        for name, part in self.neck.items():
            wanted, _ = dims_of(part)
            if wanted not in (None, given):
                raise UserError(
                    f"model.neck, '{name}', takes {wanted} channels, but the backbone gives "
                    f'{given}; correct the first of its dims',
                    key='model.neck',
                    value=wanted,
                )

    def forward(self, view: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D): batch norms see this view alone (MoCo, MoBY)."""
        found: Tensor = self.neck['project'](self.backbone.encode(view).pooled)
        return found

    def encode(self, views: Sequence[Tensor], mask: Tensor | None = None) -> list[Features]:
        """Return the features of each view (B, 3, H, W).

        One pass of the backbone, where it packs its crops (``pack_crops``), or else one for each
        group of equal sizes, see `group_by_size`. ``mask`` (V * B, h, w) is for the first V views,
        which have one size.
        """
        masked = 0 if mask is None else len(mask) // len(views[0])
        groups = group_by_size(views[:masked]) + group_by_size(views[masked:])
        images = [torch.cat(group) for group in groups]
        if len(groups) > 1 and self.backbone.pack_crops:
            joint = self.backbone.encode_together(images, mask)
        else:
            joint = [self.backbone.encode(x, None if i else mask) for i, x in enumerate(images)]
        pairs = zip(groups, joint, strict=True)
        return [part for group, found in pairs for part in found.split(len(group[0]))]

    def project(self, name: str, xs: Sequence[Tensor]) -> list[Tensor]:
        """Run one neck once over all views: (B, C) -> (B, K) each, or (B, N, C) -> (B, N, K)."""
        if xs[0].dim() == 2:
            return list(self.neck[name](torch.cat(list(xs))).split([len(x) for x in xs]))
        rows = self.neck[name](torch.cat([x.flatten(0, 1) for x in xs]))
        parts = rows.split([x.shape[0] * x.shape[1] for x in xs])
        return [p.unflatten(0, x.shape[:2]) for p, x in zip(parts, xs, strict=True)]


def group_by_size(views: Sequence[Tensor]) -> list[list[Tensor]]:
    """Split views, each (B, 3, H, W), into groups of consecutive views of equal width.

    Consecutive, not merely equal: this is the order of the official multi-crop code (SwAV,
    DINO), on which batch-norm statistics depend.
    """
    return [list(group) for _, group in groupby(views, key=lambda view: view.shape[-1])]
