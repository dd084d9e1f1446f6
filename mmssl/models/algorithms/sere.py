"""SERE (Li et al., TPAMI 2023): iBOT, and prediction of another view's self-relations."""

from typing import Any

from torch import Tensor

from ...core import UserError
from ...registry import MODELS
from ..heads.relation import RelationLoss
from .ibot import iBOT


@MODELS.register_module()
class SERE(iBOT):
    """iBOT with self-relations; ``relation`` holds the arguments of `RelationLoss`.

    Raises UserError for a backbone without attention heads that all its tokens share.
    """

    def __init__(self, *, neck: dict[str, Any], relation: dict[str, Any], **parts: Any) -> None:
        more_necks = RelationLoss.necks(neck['dims'][0], **relation)
        super().__init__(neck=neck, more_necks=more_necks, **parts)
        if not hasattr(self.student.backbone, 'num_heads'):
            kind = type(self.student.backbone).__name__
            raise UserError(
                f'model.backbone.type: SERE relates the tokens of each attention head, and {kind} '
                'has stages of other heads; use a VisionTransformer',
                key='model.backbone.type',
                value=kind,
            )
        self.relation = RelationLoss(**relation)

    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config as `iBOT.check_recipe` does, and its local views.

        Raises UserError when there are any, but ``model.relation.local`` is False.
        """
        super().check_recipe(model, views, mask)
        if not (model.get('relation') or {}).get('local', True) and len(views) > 2:
            raise UserError(
                f'model.relation.local=False, but MultiView.views has {len(views) - 2} local '
                'views; remove them, or set it to True',
                key='model.relation.local',
                value=model['relation']['local'],
            )

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses () of views (B, 3, H, W): iBOT's two, both relations', and the total.

        ``info`` holds 'mask' (B, 2, h, w) and 'box' (B, V, 5) of each view's crop.
        """
        mask = self.sample(info, 'mask', '(B, 2, h, w)').bool()
        student, local, teacher = self.encode_views(views, mask)
        parts = self.token_losses(student, local, teacher, mask)
        box = self.sample(info, 'box', '(B, V, 5): x, y, w, h, flipped')
        boxes = list(box.unbind(1))  # (B, 5) each
        spatial, channel = self.relation(self.student, self.teacher, student, local, teacher, boxes)
        total = self.relation.combine(parts['cls'] + parts['patch'], spatial, channel)
        return {'loss': total, **parts, 'spatial': spatial, 'channel': channel}
