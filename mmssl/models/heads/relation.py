"""Self-relation objectives of SERE."""

from typing import Any

import torch
from torch import Tensor, nn

from ...core import UserError
from ...functional import distill, relation
from ..backbones import Features
from ..branch import Branch

KINDS = ('channel', 'spatial')


class RelationLoss(nn.Module):
    """Cross-entropy between a teacher view's self-relations and another student view's.

    ``alpha`` weighs the spatial relation, ``beta`` the channel relation. ``overlap_size`` are
    the grids on which two global views are aligned (queries, keys); a local view is aligned on
    ``local_grid`` points a side. ``divisor`` scales channel features of (global, local) views:
    upstream's constants 14 and 6 for 224 and 96 px with patches of 16.
    ``local_heads``: 'kind' sends local views through the local necks; 'official' only when more
    than two of them share the forward, as upstream counts views (otherwise they go through the
    global necks, and the local ones learn nothing).
    """

    def __init__(
        self,
        alpha: float = 0.2,
        beta: float = 0.5,
        temperatures: tuple[float, float] = (0.5, 0.1),
        overlap_size: tuple[int, int] = (13, 13),
        local_grid: int = 6,
        divisor: tuple[float, float] = (14, 6),
        local_heads: str = 'kind',
        local: bool = True,
    ) -> None:
        super().__init__()
        if local_heads not in ('kind', 'official'):
            raise UserError(f"local_heads '{local_heads}' is unknown; use 'kind' or 'official'")
        if min(overlap_size) < 2 or local_grid < 2:
            raise UserError('overlap_size and local_grid need at least 2 points a side')
        if min(alpha, beta) < 0 or alpha + beta >= 4:
            raise UserError(
                f'relation.alpha={alpha}, beta={beta}: alpha + beta must be below 4, where '
                "the weight of iBOT's losses, (4 - alpha - beta) / 2, becomes 0"
            )
        if len(temperatures) != 2 or min(temperatures) <= 0:
            raise UserError(f'relation.temperatures={temperatures}: (spatial, channel), above 0')
        self.alpha = alpha
        self.beta = beta
        self.spatial_temp, self.channel_temp = temperatures
        self.overlap_size = tuple(overlap_size)
        self.local_grid = local_grid
        self.divisor = divisor
        self.local_heads = local_heads

    @staticmethod
    def necks(width: int, local: bool = True, **_: Any) -> dict[str, dict]:
        """Return the configs of the necks a branch needs, for features of ``width`` channels."""
        names = [*KINDS, *(f'{k}_local' for k in KINDS)] if local else list(KINDS)
        return {name: dict(type='RelationNeck', dim=width) for name in names}

    def combine(self, ibot: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
        """Return the total; iBOT's share is (4 - alpha - beta) / 2, 2 when both weights are 0."""
        factor = (4 - self.alpha - self.beta) / 2
        return ibot * factor + self.alpha * spatial + self.beta * channel

    def forward(
        self,
        student_branch: Branch,
        teacher_branch: Branch,
        student: list[Features],
        local: list[Features],
        teacher: list[Features],
        boxes: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Spatial and channel loss of two global views, L local ones and their boxes (B, 5)."""
        s_spatial, s_channel = self.relations(student_branch, student, 0, 1)
        with torch.no_grad():
            t_spatial, t_channel = self.relations(teacher_branch, teacher, 0, 0)
        l_spatial: list[Tensor] = []
        l_channel: list[Tensor] = []
        if local:
            kind = int(self.local_heads == 'kind' or len(local) > 2)
            l_spatial, l_channel = self.relations(student_branch, local, kind, 1)
        spatial = self.spatial_pairs(s_spatial, l_spatial, t_spatial, boxes)
        return spatial, self.channel_pairs(s_channel, l_channel, t_channel)

    def relations(
        self, branch: Branch, features: list[Features], local: int, predicted: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Spatial (B, M, N, N) and channel (B, C, C) relations of each view.

        One pass of each neck over all views, on the tokens before the last norm; ``predicted``
        takes the predictor's output rather than the projection's.
        """
        maps = torch.cat([to_map(f) for f in features])
        rows, ending = len(features[0].raw), '_local' if local else ''
        x = branch.neck['channel' + ending](maps)[predicted]
        channel = relation.channel_relation(x, self.divisor[local])
        x = branch.neck['spatial' + ending](maps)[predicted]
        spatial = relation.spatial_relation(x, branch.backbone.num_heads)
        return list(spatial.split(rows)), list(channel.split(rows))

    def spatial_pairs(
        self, student: list[Tensor], local: list[Tensor], teacher: list[Tensor], boxes: list[Tensor]
    ) -> Tensor:
        """Mean over pairs of another view's aligned spatial relation."""
        rows, columns = (
            relation.overlap_grids(boxes[0], boxes[1], size) for size in self.overlap_size
        )
        s, t = (
            [relation.sample_relation(r, rows[i], columns[i]) for i, r in enumerate(relations)]
            for relations in (student, teacher)
        )
        losses = [self.spatial(t[q], s[1 - q]) for q in (0, 1)]
        for q, whole in enumerate(teacher):
            for v, small in enumerate(local):
                mine, theirs = relation.overlap_grids(boxes[2 + v], boxes[q], self.local_grid)
                aligned = relation.sample_relation(whole, theirs, theirs)
                losses.append(self.spatial(aligned, relation.sample_relation(small, mine, mine)))
        return sum(losses) / len(losses)  # type: ignore[return-value]

    def channel_pairs(
        self, student: list[Tensor], local: list[Tensor], teacher: list[Tensor]
    ) -> Tensor:
        """Mean over pairs of another view's channel relation."""
        losses = [self.channel(teacher[q], student[1 - q]) for q in (0, 1)]
        losses += [self.channel(t, s) for t in teacher for s in local]
        return sum(losses) / len(losses)  # type: ignore[return-value]

    def spatial(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Mean cross-entropy of relations (B, M, R, S) over S."""
        return distill.cross_entropy((teacher / self.spatial_temp).softmax(-1), student).mean()

    def channel(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Mean cross-entropy of relations (B, C, C) over the last axis."""
        return distill.cross_entropy((teacher / self.channel_temp).softmax(-1), student).mean()


def to_map(features: Features) -> Tensor:
    """Tokens before the last norm as a map (B, C, h, w)."""
    return features.raw.transpose(1, 2).unflatten(2, features.grid)
