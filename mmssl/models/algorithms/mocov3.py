"""MoCo v3 (Chen, Xie & He, ICCV 2021)."""

from typing import Any

import torch
from torch import Tensor

from ...registry import MODELS
from .base import Pretrainer


@MODELS.register_module()
class MoCoV3(Pretrainer):
    """Two views, a momentum teacher, a predictor; the batch's other images are the negatives.

    Algorithm 1 of the paper, ``MoCo.forward`` of ``moco/builder.py``.
    """

    export, teacher_update, max_views = 'student', 'before', 2
    min_batch = 2

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss () of views (B, 3, H, W): sum of both directions, not halved."""
        q1, q2 = (self.head.predictor(self.student(view)) for view in views[:2])  # (B, D)
        with torch.no_grad():
            k1, k2 = (self.teacher(view) for view in views[:2])  # (B, D)
        self.log_embeddings(student=q1, teacher=k2)
        return {'loss': self.head(q1, k2) + self.head(q2, k1)}

    def uniform_loss(self, batch: int) -> float:
        """Return 2 * 2 T ln(images on all ranks): two directions."""
        found: float = 2 * self.head.uniform(batch)
        return found
