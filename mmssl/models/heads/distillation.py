"""Centre and loss of the self-distillation methods."""

import math

import torch
from torch import Tensor, nn

from ...core import UserError, dist
from ...functional import assign, distill
from ...registry import MODELS


@MODELS.register_module()
class DistillationHead(nn.Module):
    """Teacher targets, centred and sharpened, against student scores (DINO, eq. 4 and 5).

    The centre (1, K) is a running mean of teacher scores over all ranks, moved after the
    optimizer step from all scores seen in it; ``center_momentum`` is the share kept.
    ``tokens``: scores are (B, N, K) and the centre (1, 1, K), as iBOT stores its second one.
    """

    center: Tensor

    def __init__(
        self,
        prototypes: int,
        student_temp: float = 0.1,
        center_momentum: float = 0.9,
        tokens: bool = False,
    ) -> None:
        super().__init__()
        if student_temp <= 0 or not 0 <= center_momentum <= 1:
            raise UserError(
                f'head.student_temp={student_temp} must be above 0 and center_momentum='
                f'{center_momentum} a share'
            )
        self.takes = prototypes
        self.student_temp, self.center_momentum = student_temp, center_momentum
        self.register_buffer(
            'center', torch.zeros((1, 1, prototypes) if tokens else (1, prototypes))
        )
        self.pending: list[tuple[Tensor, int]] = []

    def targets(self, scores: Tensor, temperature: float) -> Tensor:
        """Teacher scores (..., K) -> shares (..., K), without gradient."""
        return assign.centered_softmax(scores, self.center, temperature)

    @torch.no_grad()
    def observe(self, scores: Tensor) -> None:
        """Collect teacher scores (..., K) for the centre."""
        rows = scores.detach().flatten(0, -2)
        total = rows.sum(0, dtype=self.center.dtype)  # half precision has no room for it
        self.pending.append((total.view_as(self.center), len(rows)))

    @torch.no_grad()
    def end_step(self) -> None:
        """Move the centre by what was collected since the last optimizer step."""
        if self.pending:
            total = sum(s for s, _ in self.pending)
            rows = sum(n for _, n in self.pending)
            mean = dist.sum_over_ranks(total) / (rows * dist.world_size())  # type: ignore[arg-type]
            kept = self.center * self.center_momentum
            self.center.copy_(kept + mean.to(kept) * (1 - self.center_momentum))
            self.pending.clear()

    def loss(self, targets: Tensor, scores: Tensor) -> Tensor:
        """Cross-entropy (...) of targets (..., K) and student scores (..., K)."""
        return distill.cross_entropy(targets, scores, self.student_temp)

    def forward(self, student: list[Tensor], teacher: list[Tensor], temperature: float) -> Tensor:
        """Table (T, V) of batch means for T teacher and V student views, (B, K) each.

        Zero where a view would meet itself. Observes the teacher scores.
        """
        pairs = student[0].new_zeros(len(teacher), len(student))
        targets = [self.targets(t, temperature) for t in teacher]
        cells = [
            [self.loss(q, s).mean() if i != v else pairs[i, v] for v, s in enumerate(student)]
            for i, q in enumerate(targets)
        ]
        self.observe(torch.cat(teacher))
        return torch.stack([torch.stack(row) for row in cells])

    def uniform(self) -> float:
        """Return ln K: the loss of scores that favour no prototype."""
        return math.log(self.center.shape[-1])
