"""MoBY (Xie et al. 2021)."""

from typing import Any

import torch
from torch import Tensor

from ...registry import MODELS
from ..queue import Queue
from .base import Pretrainer


@MODELS.register_module()
class MoBY(Pretrainer):
    """MoCo's queues with BYOL's predictor and asymmetric augmentation.

    Each view has its queue: queries of view 1 are compared with keys and negatives of view 2
    (``models/moby.py``). ``queue_length`` is the config key ``model.queue_length``.
    """

    export, teacher_update, max_views = 'student', 'before', 2
    min_batch = 2

    def __init__(self, *, queue_length: int = 4096, **parts: Any) -> None:
        super().__init__(**parts)
        self.queue = Queue(self.student.neck['project'].out_dim, queue_length, banks=2)

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss () of views (B, 3, H, W): sum of both directions, not halved."""
        q1, q2 = (self.head.predictor(self.student(view)) for view in views[:2])  # (B, D)
        with torch.no_grad():
            k1, k2 = (self.teacher(view) for view in views[:2])  # (B, D)
        negatives1, negatives2 = self.queue()
        self.queue.push(k1, k2)
        self.log_embeddings(student=q1, teacher=k2)
        return {'loss': self.head(q1, k2, negatives2) + self.head(q2, k1, negatives1)}

    def check_batch(self, batch: int) -> None:
        """Check that the queue holds the keys of one step. Raises UserError when it cannot."""
        super().check_batch(batch)
        self.queue.check(batch)

    def uniform_loss(self, batch: int) -> float:
        """Return 2 ln(1 + K)."""
        found: float = 2 * self.head.uniform(batch, self.queue.length)
        return found
