"""EsViT (Li et al., ICLR 2022), and DINO as its view task alone."""

from typing import Any

import torch
from torch import Tensor

from ...core import Curve, UserError
from ...functional import distill
from ...registry import MODELS
from ..backbones import Features
from .base import Pretrainer


@MODELS.register_module()
class EsViT(Pretrainer):
    """Self-distillation of views and, with ``region``, of matched regions.

    The first two views are global: the teacher sees only them. Both tasks have a neck and a
    centre of their own, built from the same configs. ``weights`` are those of views and regions:
    half each in ``main_esvit.py``, one each in the paper. ``teacher_temp`` is a curve's config.
    """

    export, teacher_moves = 'teacher', 'after'

    def __init__(
        self,
        *,
        neck: dict,
        head: dict,
        teacher_temp: dict,
        region: bool = True,
        weights: tuple[float, float] = (0.5, 0.5),
        **parts: Any,
    ) -> None:
        necks = dict(view=neck, region=neck) if region else dict(view=neck)
        super().__init__(neck=necks, head=head, **parts)
        self.region_head = MODELS.build(head) if region else None
        self.teacher_temp = Curve.build(teacher_temp, 'model.teacher_temp')
        self.view_weight, self.region_weight = weights

    @classmethod
    def check_recipe(cls, model: dict, views: list[dict], mask: dict | None) -> None:
        """With the region task, all local views must have one size, as upstream."""
        super().check_recipe(model, views, mask)
        sizes = sorted({view.get('size', 224) for view in views[2:]})
        if model.get('region', True) and len(sizes) > 1:
            raise UserError(
                f'EsViT with region=True takes local views of one size, got {sizes}; '
                'use one, or region=False'
            )

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Mean over pairs of a teacher view and another student view."""
        student = self.student.encode(views)
        with torch.no_grad():
            teacher = self.teacher.encode(views[:2])
        temperature = self.now(self.teacher_temp)
        s = self.student.project('view', [f.pooled for f in student])  # (B, K) each
        with torch.no_grad():
            t = self.teacher.project('view', [f.pooled for f in teacher])
        self.watch(student=student[0].pooled, teacher=teacher[1].pooled)
        view = self.head(s, t, temperature)
        if self.region_head is None:
            return {'loss': view}
        region = self.regions(student, teacher, temperature)
        loss = self.view_weight * view + self.region_weight * region
        return {'loss': loss, 'view': view, 'region': region}

    def regions(
        self, student: list[Features], teacher: list[Features], temperature: float
    ) -> Tensor:
        """Mean of the region losses; each student region learns from its match."""
        assert self.region_head is not None
        s = self.student.project('region', [f.tokens for f in student])  # (B, N, K) each
        with torch.no_grad():
            t = self.teacher.project('region', [f.tokens for f in teacher])
        matches = distill.match_views([f.tokens for f in student], [f.tokens for f in teacher])
        return self.region_head(s, t, temperature, matches)

    def uniform_loss(self, batch: int) -> float:
        """ln K for either task."""
        return self.head.uniform()
