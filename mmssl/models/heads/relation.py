"""Losses of SERE's spatial and channel self-relations (Li et al., TPAMI 2023)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core import UserError
from ...functional import distill, relation
from ..backbones import Features
from ..branch import Branch

KINDS = ('channel', 'spatial')


class RelationLoss(nn.Module):
    """Cross-entropy between self-relations of a teacher view and of another student view.

    ``alpha`` weighs the spatial relation, ``beta`` the channel relation. ``overlap_size`` are
    the grids on which two global views are aligned (queries, keys); a local view is aligned on
    ``local_grid`` points a side. ``divisor`` scales channel features of (global, local) views:
    upstream's constants 14 and 6 for 224 and 96 px with patches of 16.
    ``local_heads``: 'kind' sends local views through the local necks; 'official' only when more
    than two of them share the forward, as upstream counts views (otherwise they go through the
    global necks, and the local necks get no gradient). Raises UserError for values out of range.
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
            raise UserError(
                f"model.relation.local_heads '{local_heads}' is unknown; use 'kind' or 'official'",
                key='model.relation.local_heads',
                value=local_heads,
            )
        if min(overlap_size) < 2:
            raise UserError(
                f'model.relation.overlap_size={overlap_size}: needs at least 2 points a side',
                key='model.relation.overlap_size',
                value=overlap_size,
            )
        if local_grid < 2:
            raise UserError(
                f'model.relation.local_grid={local_grid}: needs at least 2 points a side',
                key='model.relation.local_grid',
                value=local_grid,
            )
        if min(alpha, beta) < 0 or alpha + beta >= 4:
            name, given = ('beta', beta) if beta < 0 <= alpha else ('alpha', alpha)
            raise UserError(
                f'model.relation.{name}={given}: alpha={alpha} and beta={beta} must not be below '
                "0, and their sum must be below 4 (iBOT's losses weigh (4 - alpha - beta) / 2)",
                key=f'model.relation.{name}',
                value=given,
            )
        if len(temperatures) != 2 or min(temperatures) <= 0:
            raise UserError(
                f'model.relation.temperatures={temperatures}: give (spatial, channel), above 0',
                key='model.relation.temperatures',
                value=temperatures,
            )
        self.alpha = alpha
        self.beta = beta
        self.spatial_temp, self.channel_temp = temperatures
        self.overlap_size = tuple(overlap_size)
        self.local_grid = local_grid
        self.divisor = divisor
        self.local_heads = local_heads

    @staticmethod
    def necks(width: int, local: bool = True, **_: Any) -> dict[str, dict[str, Any]]:
        """Return the configs of the necks a branch needs, for features of ``width`` channels."""
        names = [*KINDS, *(f'{k}_local' for k in KINDS)] if local else list(KINDS)
        return {name: dict(type='RelationNeck', dim=width) for name in names}

    def combine(self, ibot: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
        """Return the weighted total () of iBOT's loss and both relations' losses, () each.

        iBOT's weight is (4 - alpha - beta) / 2: 2 when both others are 0.
        """
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
        """Return spatial and channel loss, () each, of two global and L local views.

        ``boxes`` (B, 5): the crop of each view, global ones first.
        """
        s_spatial, s_channel = self.relations(student_branch, student, 0, 1)
        with torch.no_grad():
            t_spatial, t_channel = self.relations(teacher_branch, teacher, 0, 0)
        l_spatial, l_channel = None, None
        if local:
            kind = int(self.local_heads == 'kind' or len(local) > 2)
            l_spatial, l_channel = self.relations(student_branch, local, kind, 1)
        spatial = self.spatial_pairs(s_spatial, l_spatial, t_spatial, torch.stack(boxes))
        return spatial, self.channel_pairs(s_channel, l_channel, t_channel)

    def relations(
        self, branch: Branch, features: list[Features], local: int, predicted: int
    ) -> tuple[Tensor, Tensor]:
        """Return spatial (V, B, M, N, N) and channel (V, B, C, C) relations of V views.

        One pass of each neck over all views, on the tokens before the last norm; ``predicted``
        takes the predictor's output rather than the projection's.
        """
        maps = torch.cat([to_map(f) for f in features])
        views, ending = (len(features), -1), '_local' if local else ''
        x = branch.neck['channel' + ending](maps)[predicted]
        channel = relation.channel_relation(x, self.divisor[local])
        x = branch.neck['spatial' + ending](maps)[predicted]
        spatial = relation.spatial_relation(x, branch.backbone.num_heads)
        return spatial.unflatten(0, views), channel.unflatten(0, views)

    def spatial_pairs(
        self, student: Tensor, local: Tensor | None, teacher: Tensor, boxes: Tensor
    ) -> Tensor:
        """Return the mean loss () over pairs of views of aligned spatial relations.

        Relations (2, B, M, N, N) of global views and (L, B, M, n, n) of local ones; ``boxes``
        (2 + L, B, 5): the crop of each view. Each local view is aligned with both of the teacher's.
        """
        rows, columns = (
            torch.cat(relation.overlap_grids(boxes[0], boxes[1], size))
            for size in self.overlap_size
        )
        s, t = (
            relation.sample_relation(r.flatten(0, 1), rows, columns).unflatten(0, (2, -1))
            for r in (student, teacher)
        )
        whole = self.spatial(t, s.flip(0))
        if local is None:
            return whole
        count, images = local.shape[:2]
        mine, theirs = relation.overlap_grids(
            boxes[2:, None].expand(-1, 2, -1, -1).flatten(0, 2),
            boxes[None, :2].expand(count, -1, -1, -1).flatten(0, 2),
            self.local_grid,
        )
        theirs = theirs.unflatten(0, (count, 2 * images))
        mine = mine.unflatten(0, (count, 2, images)).transpose(0, 1).flatten(1, 2)
        aligned = relation.sample_relations(teacher.flatten(0, 1), theirs)  # (L, 2 B, M, K, K)
        own = relation.sample_relations(local.flatten(0, 1), mine)  # (2, L B, M, K, K)
        own = own.unflatten(1, (count, images)).transpose(0, 1).flatten(1, 2)
        return (whole + count * self.spatial(aligned, own)) / (1 + count)

    def channel_pairs(self, student: Tensor, local: Tensor | None, teacher: Tensor) -> Tensor:
        """Return the mean loss () over pairs of views of channel relations.

        (2, B, C, C) of global views, (L, B, C, C) of local ones. The loss of all pairs of a local
        and a teacher view is that of the sums of targets and of log-shares.
        """
        targets = (teacher / self.channel_temp).softmax(-1)
        whole = distill.cross_entropy(targets, student.flip(0)).mean()
        if local is None:
            return whole
        count = len(local)
        log_shares = F.log_softmax(local, dim=-1).sum(0)  # (B, C, C)
        pairs = -(targets.sum(0) * log_shares).sum(-1).mean()
        return (2 * whole + pairs) / (2 + 2 * count)

    def spatial(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the mean cross-entropy () of relations (..., S) over S."""
        return distill.cross_entropy((teacher / self.spatial_temp).softmax(-1), student).mean()


def to_map(features: Features) -> Tensor:
    """Return the tokens before the last norm as a map: (B, N, C) -> (B, C, h, w)."""
    found: Tensor = features.raw.transpose(1, 2).unflatten(2, features.grid)
    return found
