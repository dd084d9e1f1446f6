"""DINO (Caron et al., ICCV 2021)."""

from typing import Any

import torch
from torch import Tensor

from ...core import Schedule
from ...core.kinds import ScheduleSettings
from ...registry import MODELS
from ..backbones import Features
from ..heads.distillation import LOWEST_TEMP
from .base import Pretrainer


@MODELS.register_module()
class DINO(Pretrainer):
    """Self-distillation of views: each crop is trained on the teacher's output for a global view.

    The first two views are global: the teacher gets only them. ``teacher_temp`` is a schedule's
    config (``main_dino.py``).
    """

    export, teacher_update = 'teacher', 'after'

    def __init__(
        self,
        *,
        neck: dict[str, Any],
        head: dict[str, Any],
        teacher_temp: ScheduleSettings,
        **parts: Any,
    ) -> None:
        necks = {'view': neck} if 'type' in neck else neck
        super().__init__(neck=necks, head=head, **parts)
        self.teacher_temp = Schedule.build(teacher_temp, 'model.teacher_temp', LOWEST_TEMP)

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the loss () of views (B, 3, H, W).

        Mean over pairs of a teacher view and another student view.
        """
        student, teacher = self.encode_views(views)
        return {'loss': self.view_loss(student, teacher)}

    def encode_views(self, views: list[Tensor]) -> tuple[list[Features], list[Features]]:
        """Return features of views (B, 3, H, W): the student's of all, the teacher's of two."""
        student = self.student.encode(views)
        with torch.no_grad():
            teacher = self.teacher.encode(views[:2])
        return student, teacher

    def view_loss(self, student: list[Features], teacher: list[Features]) -> Tensor:
        """Return the loss () of the views' pooled features (B, C)."""
        s = self.student.project('view', [f.pooled for f in student])  # (B, K) each
        with torch.no_grad():
            t = self.teacher.project('view', [f.pooled for f in teacher])
        self.log_embeddings(student=student[0].pooled, teacher=teacher[1].pooled)
        found: Tensor = self.head(s, t, self.teacher_temp.value_at(*self.progress))
        return found

    def uniform_loss(self, batch: int) -> float:
        """Return ln K."""
        found: float = self.head.uniform()
        return found
