"""MoCo v1 (He et al., CVPR 2020) and v2 (Chen et al. 2020)."""

from typing import Any

import torch
from torch import Tensor

from ...functional import batch_shuffle
from ...registry import MODELS
from ..queue import Queue
from .base import Pretrainer


@MODELS.register_module()
class MoCo(Pretrainer):
    """Contrast with a queue of negatives; the momentum teacher's batch norm sees shuffled images.

    View 0 is the query, view 1 the key (``moco/builder.py``). v2 differs from v1 by its neck,
    temperature and augmentations. Batch norm stays per process: do not set ``sync_bn``.
    """

    export, teacher_update, max_views = 'student', 'before', 2
    min_batch = 2

    def __init__(self, *, queue_length: int = 65536, **parts: Any) -> None:
        super().__init__(**parts)
        self.queue = Queue(self.student.neck['project'].out_dim, queue_length)

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss () of views (B, 3, H, W): one direction, no negative of this batch."""
        q = self.student(views[0])  # (B, D)
        with torch.no_grad():
            part, order = batch_shuffle.shuffle(views[1], info.get('idx_shuffle'))
            k = batch_shuffle.unshuffle(self.teacher(part), order)  # (B, D)
        (negatives,) = self.queue()
        self.queue.push(k)
        self.log_embeddings(student=q, teacher=k)
        return {'loss': self.head(q, k, negatives)}

    def check_batch(self, batch: int) -> None:
        """Check that the queue holds the keys of one step. Raises UserError when it cannot."""
        super().check_batch(batch)
        self.queue.check(batch)

    def uniform_loss(self, batch: int) -> float:
        """Return ln(1 + K)."""
        found: float = self.head.uniform(batch, self.queue.length)
        return found
