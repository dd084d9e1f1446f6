"""EsViT (Li et al., ICLR 2022): DINO's view task and a task of matched regions."""

from typing import Any

import torch
from torch import Tensor

from ...core import UserError
from ...functional import distill
from ...registry import MODELS
from ..backbones import Features
from .dino import DINO


@MODELS.register_module()
class EsViT(DINO):
    """DINO, and self-distillation of the regions that match best between two views.

    Both tasks have a neck and a centre of their own, built from the same configs. ``weights`` are
    those of views and regions: half each in ``main_esvit.py``, one each in the paper. The view
    task alone is `DINO`.
    """

    def __init__(
        self,
        *,
        neck: dict[str, Any],
        head: dict[str, Any],
        weights: tuple[float, float] = (0.5, 0.5),
        **parts: Any,
    ) -> None:
        super().__init__(neck=dict(view=neck, region=neck), head=head, **parts)
        self.region_head = MODELS.build(head)
        self.view_weight, self.region_weight = weights

    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config as `Pretrainer.check_recipe` does, and the sizes of local views.

        Raises UserError when they differ, as upstream takes one size only.
        """
        super().check_recipe(model, views, mask)
        sizes = sorted({view.get('size', 224) for view in views[2:]})
        if len(sizes) > 1:
            raise UserError(
                f'EsViT takes local views of one size, but MultiView.views has {sizes}; use one '
                "of them, or type='DINO' for the view task alone",
                key='MultiView.views',
                value=sizes,
            )

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses () of views (B, 3, H, W): 'view', 'region' and their weighted sum."""
        student, teacher = self.encode_views(views)
        view = self.view_loss(student, teacher)
        region = self.region_loss(student, teacher)
        loss = self.view_weight * view + self.region_weight * region
        return {'loss': loss, 'view': view, 'region': region}

    def region_loss(self, student: list[Features], teacher: list[Features]) -> Tensor:
        """Return the loss () of regions' tokens (B, N, C), each against its match (eq. 4)."""
        s = self.student.project('region', [f.tokens for f in student])  # (B, N, K) each
        with torch.no_grad():
            t = self.teacher.project('region', [f.tokens for f in teacher])
        matches = distill.match_views([f.tokens for f in student], [f.tokens for f in teacher])
        temperature = self.teacher_temp.value_at(*self.progress)
        found: Tensor = self.region_head(s, t, temperature, matches)
        return found
