"""SERE (Li et al., TPAMI 2023): iBOT, and self-relations that another view must reproduce."""

from typing import Any

from torch import Tensor

from ...core import UserError
from ...registry import MODELS
from ..heads.relation import RelationLoss
from .ibot import iBOT


@MODELS.register_module()
class SERE(iBOT):
    """iBOT with self-relations; ``relation`` holds the arguments of `RelationLoss`."""

    def __init__(self, *, neck: dict, relation: dict, **parts: Any) -> None:
        more_necks = RelationLoss.necks(neck['dims'][0], **relation)
        super().__init__(neck=neck, more_necks=more_necks, **parts)
        self.relation = RelationLoss(**relation)

    @classmethod
    def check_recipe(cls, model: dict, views: list[dict], mask: dict | None) -> None:
        """Local views need ``relation.local``. Raises UserError naming their number."""
        super().check_recipe(model, views, mask)
        if not (model.get('relation') or {}).get('local', True) and len(views) > 2:
            raise UserError(f'relation.local=False, but there are {len(views) - 2} local views')

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """iBOT's two losses and both self-relations."""
        mask = info['mask'].bool()  # (B, 2, h, w)
        student, local, teacher = self.encode_views(views, mask)
        parts = self.token_losses(student, local, teacher, mask)
        boxes = list(info['box'].unbind(1))  # (B, 5) each
        spatial, channel = self.relation(self.student, self.teacher, student, local, teacher, boxes)
        total = self.relation.combine(parts['cls'] + parts['patch'], spatial, channel)
        return {'loss': total, **parts, 'spatial': spatial, 'channel': channel}
