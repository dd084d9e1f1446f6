"""iBOT (Zhou et al., ICLR 2022)."""

from typing import Any

import torch
from torch import Tensor, nn

from ...core import Schedule, UserError
from ...core.kinds import ScheduleSettings
from ...registry import MODELS
from ..backbones import Backbone, Features
from ..branch import Branch
from ..heads.distillation import LOWEST_TEMP, Scores, check_center_momentum
from .base import Pretrainer


def _mask_cell(backbone: dict[str, Any]) -> int:
    """Return the pixels of a cell of the masks that a backbone of these settings takes."""
    kind = MODELS.get(backbone.get('type', 'VisionTransformer'))
    known = isinstance(kind, type) and issubclass(kind, Backbone)
    return (kind if known else Backbone).mask_cell(backbone)


def _with_mask_token(backbone: dict[str, Any] | nn.Module) -> dict[str, Any] | nn.Module:
    """Return a backbone, or its settings, with a mask token.

    Raises UserError for one that takes no masks, and for a built one that has no such token.
    """
    if isinstance(backbone, nn.Module):
        kind: Any = type(backbone)
        name, has_token = kind.__name__, getattr(backbone, 'mask_token', None) is not None
    else:
        kind, name, has_token = MODELS.get(backbone['type']), backbone['type'], True
    if not (isinstance(kind, type) and issubclass(kind, Backbone) and kind.supports_masks):
        raise UserError(
            f'model.backbone.type: {name} takes no patch masks; use a VisionTransformer or a '
            'SwinTransformer',
            key='model.backbone.type',
            value=name,
        )
    if not has_token:
        raise UserError(
            f'backbone: this {name} has no mask token; build it with mask_token=True',
            key='backbone',
            value=name,
        )
    return backbone if isinstance(backbone, nn.Module) else dict(backbone, mask_token=True)


@MODELS.register_module()
class iBOT(Pretrainer):
    """Masked self-distillation: class tokens of other views, and masked patches of the same view.

    ``neck`` is a DINONeck with patch prototypes; ``teacher_neck`` overrides parts of it for the
    teacher; ``more_necks`` are configs of further necks of both branches, by name. The first two
    views are global, the only ones the teacher gets; their masks (B, 2, h, w) are the student's.
    ``teacher_patch_temp`` is the patches' teacher temperature, that of the views when left out;
    ``weights`` are those of class tokens and patches. Raises UserError for a backbone that takes
    no masks.
    """

    export, teacher_update = 'teacher', 'after'

    def __init__(
        self,
        *,
        backbone: dict[str, Any] | nn.Module,
        neck: dict[str, Any],
        head: dict[str, Any],
        teacher_temp: ScheduleSettings,
        teacher_patch_temp: ScheduleSettings | None = None,
        teacher_neck: dict[str, Any] | None = None,
        more_necks: dict[str, dict[str, Any]] | None = None,
        weights: tuple[float, float] = (1.0, 1.0),
        patch_center_momentum: float = 0.9,
        **parts: Any,
    ) -> None:
        backbone = _with_mask_token(backbone)
        check_center_momentum(patch_center_momentum, 'model.patch_center_momentum')
        necks = {'view': neck, **(more_necks or {})}
        super().__init__(backbone=backbone, neck=necks, head=head, **parts)
        patches = neck.get('patch_prototypes') or neck['prototypes']
        own = dict(prototypes=patches, center_momentum=patch_center_momentum, tokens=True)
        self.patch_head = MODELS.build({**head, **own})
        # the teacher never sees masks, and may share its last layer where the student does not
        self.teacher.backbone.drop_mask_token()
        self.teacher.neck['view'] = MODELS.build({**neck, **(teacher_neck or {})})
        self.teacher.requires_grad_(False)
        self.sync_teacher()
        self.teacher_temp = Schedule.build(teacher_temp, 'model.teacher_temp', LOWEST_TEMP)
        patch_temp = teacher_patch_temp or teacher_temp
        self.teacher_patch_temp = Schedule.build(
            patch_temp, 'model.teacher_patch_temp', LOWEST_TEMP
        )
        self.cls_weight, self.patch_weight = weights

    @classmethod
    def check_recipe(
        cls, model: dict[str, Any], views: list[dict[str, Any]], mask: dict[str, Any] | None
    ) -> None:
        """Check a config as `Pretrainer.check_recipe` does, and its masks.

        Raises UserError for first two views of different sizes, for no mask, and for masks with
        patches of another size than the backbone's.
        """
        super().check_recipe(model, views, mask)
        name = cls.__name__
        sizes = [view.get('size', 224) for view in views[:2]]
        if sizes[0] != sizes[1]:
            raise UserError(
                f'{name} needs two global views of one size first in MultiView.views, got {sizes}',
                key='MultiView.views',
                value=sizes,
            )
        if mask is None:
            raise UserError(
                f"{name} needs MultiView.mask: add mask=dict(type='PatchMask') to MultiView",
                key='MultiView.mask',
                value=None,
            )
        backbone = model.get('backbone') or {}
        given, cell = mask.get('patch_size', 16), _mask_cell(backbone)
        if given != cell:
            raise UserError(
                f'MultiView.mask.patch_size={given} px, but model.backbone masks cells of '
                f'{cell} px; make them equal',
                key='MultiView.mask.patch_size',
                value=given,
            )

    def sync_teacher(self) -> None:
        """Copy the student; a shared last layer of the teacher gets the student's patch layer."""
        super().sync_teacher()
        ours, theirs = self.student.neck['view'], self.teacher.neck['view']
        if ours.last_layer2 is not None and theirs.last_layer2 is None:
            # upstream loads the student's keys in order, so the second layer arrives last
            theirs.last_layer.load_state_dict(ours.last_layer2.state_dict())

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """Return the losses () of views (B, 3, H, W): 'cls', 'patch' and their sum.

        ``info['mask']`` (B, 2, h, w) are the masked patches of the global views.
        """
        mask = self.sample(info, 'mask', '(B, 2, h, w)').bool()
        student, local, teacher = self.encode_views(views, mask)
        parts = self.token_losses(student, local, teacher, mask)
        return {'loss': parts['cls'] + parts['patch'], **parts}

    def encode_views(
        self, views: list[Tensor], mask: Tensor
    ) -> tuple[list[Features], list[Features], list[Features]]:
        """Return features of the student's masked global views, its local ones, the teacher's.

        views (B, 3, H, W) each, global ones first; mask (B, 2, h, w).
        """
        with torch.no_grad():
            teacher = self.teacher.encode(views[:2])
        masks = mask.transpose(0, 1).flatten(0, 1)  # (2 B, h, w)
        features = self.student.encode(views, masks)
        student, local = features[:2], features[2:]
        self.log_embeddings(student=student[0].pooled, teacher=teacher[1].pooled)
        return student, local, teacher

    def token_losses(
        self, student: list[Features], local: list[Features], teacher: list[Features], mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted losses () of class tokens and masked patches; mask (B, 2, h, w)."""
        s = self.student.project('view', [f.pooled for f in student + local])  # (B, K) each
        patches = self._patch_scores(self.student, student)
        with torch.no_grad():
            t = self.teacher.project('view', [f.pooled for f in teacher])
            targets = self._patch_scores(self.teacher, teacher)
        cls = self.head(s, t, self.teacher_temp.value_at(*self.progress))
        patch = self.patch_head.masked(
            patches, targets, mask.flatten(2), self.teacher_patch_temp.value_at(*self.progress)
        )
        return {'cls': self.cls_weight * cls, 'patch': self.patch_weight * patch}

    @staticmethod
    def _patch_scores(branch: Branch, features: list[Features]) -> Scores:
        """Return the scores (V, B, N, K) of the patches of V views."""
        rows = torch.cat([f.tokens for f in features])  # (V * B, N, C)
        scores: Scores = branch.neck['view'](rows, patches=True)
        return scores.unflatten(0, (len(features), -1))
