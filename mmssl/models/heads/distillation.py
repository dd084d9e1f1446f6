"""Centre and loss of the self-distillation methods."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ...core import UserError, dist
from ...core.kinds import Count
from ...functional import assign, chunked, distill
from ...registry import MODELS

Scores: TypeAlias = Any  # a view's (..., K), or their chunked.FactoredLogits
Matches: TypeAlias = list[list[Tensor]]
LOWEST_TEMP = 1e-3  # of a teacher; scores are divided by it


def check_center_momentum(momentum: float, key: str) -> None:
    """Check the share of a centre that is kept. Raises UserError about ``key`` outside 0 to 1."""
    if not 0 <= momentum <= 1:
        raise UserError(f'{key}={momentum}: must be between 0 and 1', key=key, value=momentum)


@MODELS.register_module()
class DistillationHead(nn.Module):
    """Teacher targets, centred and sharpened, against student scores (DINO, eq. 4 and 5).

    The centre (1, K) is a running mean of teacher scores over all ranks, moved after the
    optimizer step from all scores seen in it; ``center_momentum`` is the share kept.
    ``collected`` is the sum of the scores since that move: of this process, and what epochs have
    left over from incomplete updates, which stays in the sum, as in SERE's code. ``tokens``: scores
    are (B, N, K) and the centre (1, 1, K), as iBOT stores its second one.
    Raises UserError for a ``student_temp`` that is not above 0, and for a ``center_momentum``
    outside 0 to 1.
    """

    center: Tensor
    collected: Tensor

    def __init__(
        self,
        prototypes: Count,
        student_temp: float = 0.1,
        center_momentum: float = 0.9,
        tokens: bool = False,
    ) -> None:
        super().__init__()
        if student_temp <= 0:
            raise UserError(
                f'model.head.student_temp={student_temp}: must be above 0',
                key='model.head.student_temp',
                value=student_temp,
            )
        check_center_momentum(center_momentum, 'model.head.center_momentum')
        self.in_dim = prototypes
        self.student_temp = student_temp
        self.center_momentum = center_momentum
        shape = (1, 1, prototypes) if tokens else (1, prototypes)
        self.register_buffer('center', torch.zeros(shape))
        self.register_buffer('collected', torch.zeros(shape))
        self.rows = 0  # of this step, on this process

    def targets(self, scores: Tensor, temperature: float) -> Tensor:
        """Centre and sharpen: teacher scores (..., K) -> shares (..., K), without gradient."""
        return assign.centered_softmax(scores, self.center, temperature)

    @torch.no_grad()
    def observe(self, scores: Scores) -> None:
        """Collect teacher scores (..., K) for the centre."""
        if isinstance(scores, chunked.FactoredLogits):
            total, rows = chunked.total(scores), scores.features[..., 0].numel()
        else:
            flat = scores.detach().flatten(0, -2)
            # half precision overflows in the sum
            total, rows = flat.sum(0, dtype=self.center.dtype), len(flat)
        self.collected += total.view_as(self.center)
        self.rows += rows

    @torch.no_grad()
    def end_step(self) -> None:
        """Move the centre by what was collected since the last optimizer step."""
        if self.rows:
            mean = dist.sum_over_ranks(self.collected) / (self.rows * dist.world_size())
            kept = self.center * self.center_momentum
            self.center.copy_(kept + mean * (1 - self.center_momentum))
            self.drop_step()

    def drop_step(self) -> None:
        """Forget what was collected since the last optimizer step."""
        self.collected.zero_()
        self.rows = 0

    @torch.no_grad()
    def drop_incomplete(self) -> None:
        """Keep the sum for the next step, alike on all ranks; its rows are not counted there."""
        self.collected.copy_(dist.sum_over_ranks(self.collected) / dist.world_size())
        self.rows = 0

    def loss(self, targets: Tensor, scores: Tensor) -> Tensor:
        """Return the cross-entropy (...) of targets (..., K) and student scores (..., K)."""
        return distill.cross_entropy(targets, scores, self.student_temp)

    def forward(
        self,
        student: Sequence[Scores],
        teacher: Sequence[Scores],
        temperature: float,
        matches: Matches | None = None,
    ) -> Tensor:
        """Return the mean loss () over pairs of T teacher and V other student views.

        Scores (B, K) each, or (B, N, K) of regions with the ``matches`` (B, N) of every pair. The
        teacher's are collected for the centre.
        """
        for scores in teacher:
            self.observe(scores)
        if isinstance(student[0], chunked.FactoredLogits):
            temperatures = (self.student_temp, temperature)
            return chunked.pairs(student, teacher, matches, self.center, temperatures)
        return distill.mean_of_pairs(self.table(student, teacher, temperature, matches))

    def table(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        temperature: float,
        matches: Matches | None = None,
    ) -> Tensor:
        """Return the batch mean of every pair (T, V), zero for a view with itself.

        Scores and ``matches`` as in `forward`.
        """
        targets = [self.targets(scores, temperature) for scores in teacher]
        return distill.pair_losses(student, targets, self.student_temp, matches)

    def masked(self, student: Scores, teacher: Scores, mask: Tensor, temperature: float) -> Tensor:
        """Return the mean loss () over views and images of the mean over masked patches.

        Scores (V, B, N, K) of V views, mask (B, V, N). An image without mask counts as 0 and
        stays in the mean (iBOT's L_MIM). The teacher's scores are collected for the centre.
        """
        self.observe(teacher)
        chosen = mask.transpose(0, 1).to(self.center)  # (V, B, N)
        shares = chosen / chosen.sum(2, keepdim=True).clamp_min(1) / chosen[..., 0].numel()
        if isinstance(student, chunked.FactoredLogits):
            temperatures = (self.student_temp, temperature)
            return chunked.masked(student, teacher, shares, self.center, temperatures)
        loss = self.loss(self.targets(teacher, temperature), student)
        return (loss * shares).sum()

    def uniform(self) -> float:
        """Return ln K, the loss of equal scores of all prototypes."""
        return math.log(self.center.shape[-1])
