"""SERE (Li et al., TPAMI 2023) on iBOT (Zhou et al., ICLR 2022); iBOT is SERE without relations."""

import inspect
from typing import Any

import torch
from torch import Tensor

from ...core import Curve, UserError
from ...registry import MODELS
from ..backbones import Features
from ..heads.relation import RelationLoss
from .base import Pretrainer


@MODELS.register_module()
class SERE(Pretrainer):
    """Masked self-distillation, plus self-relations of one view that another must reproduce.

    ``neck`` is a DINONeck with patch prototypes; ``teacher_neck`` overrides parts of it for the
    teacher. ``relation`` holds `RelationLoss`'s arguments; None is plain iBOT. The first two
    views are global, the only ones the teacher sees; their masks (B, 2, h, w) hit the student.
    ``teacher_patch_temp`` is the patches' teacher temperature, that of the views when left out;
    ``weights`` are those of class tokens and patches.
    """

    export, teacher_moves = 'teacher', 'after'

    def __init__(
        self,
        *,
        backbone: dict,
        neck: dict,
        head: dict,
        teacher_temp: dict,
        teacher_patch_temp: dict | None = None,
        teacher_neck: dict | None = None,
        relation: dict | None = None,
        weights: tuple[float, float] = (1.0, 1.0),
        patch_center_momentum: float = 0.9,
        **parts: Any,
    ) -> None:
        kind = MODELS.get(backbone['type'])
        if 'mask_token' not in inspect.signature(kind.__init__).parameters:
            raise UserError(f'{backbone["type"]} takes no patch masks; use a VisionTransformer')
        width = neck['dims'][0]
        necks = {'view': neck, **(RelationLoss.necks(width, **relation) if relation else {})}
        super().__init__(backbone=dict(backbone, mask_token=True), neck=necks, head=head, **parts)
        patches = neck.get('patch_prototypes') or neck['prototypes']
        own = dict(prototypes=patches, center_momentum=patch_center_momentum, tokens=True)
        self.patch_head = MODELS.build({**head, **own})
        self.relation = RelationLoss(**relation) if relation else None
        # the teacher never sees masks, and may share its last layer where the student does not
        self.teacher.backbone.drop_mask_token()
        self.teacher.neck['view'] = MODELS.build({**neck, **(teacher_neck or {})})
        self.teacher.requires_grad_(False)
        self.sync_teacher()
        self.teacher_temp = Curve.build(teacher_temp, 'model.teacher_temp')
        patch_temp = teacher_patch_temp or teacher_temp
        self.teacher_patch_temp = Curve.build(patch_temp, 'model.teacher_patch_temp')
        self.cls_weight, self.patch_weight = weights

    @classmethod
    def check_recipe(cls, model: dict, views: list[dict], mask: dict | None) -> None:
        """The first two views are equally large, and masked."""
        super().check_recipe(model, views, mask)
        sizes = [view.get('size', 224) for view in views[:2]]
        if sizes[0] != sizes[1]:
            raise UserError(f'SERE needs two global views of one size first, got {sizes}')
        if mask is None:
            raise UserError("SERE masks patches: add mask=dict(type='PatchMask') to MultiView")
        patches = [d.get('patch_size', 16) for d in (mask, model.get('backbone') or {})]
        if patches[0] != patches[1]:
            raise UserError(
                f'masks of {patches[0]} px patches on a backbone of {patches[1]} px ones'
            )
        if not (model.get('relation') or {}).get('local', True) and len(views) > 2:
            raise UserError(f'relation.local=False, but there are {len(views) - 2} local views')

    def sync_teacher(self) -> None:
        """Copy the student; a shared teacher layer starts from the student's patch layer."""
        super().sync_teacher()
        ours, theirs = self.student.neck['view'], self.teacher.neck['view']
        if ours.last_layer2 is not None and theirs.last_layer2 is None:
            # upstream loads the student's keys in order, so the second layer arrives last
            theirs.last_layer.load_state_dict(ours.last_layer2.state_dict())

    def loss(self, views: list[Tensor], info: dict[str, Any]) -> dict[str, Tensor]:
        """iBOT's two losses, and both self-relations where configured."""
        mask = info['mask'].bool()  # (B, 2, h, w)
        with torch.no_grad():
            teacher = self.teacher.encode(views[:2])
        masks = mask.transpose(0, 1).flatten(0, 1)  # (2 B, h, w)
        student = self.student.encode(views[:2], masks, last=len(views) == 2)
        local = self.student.encode(views[2:])
        parts = self.ibot(student, local, teacher, mask)
        self.watch(student=student[0].pooled, teacher=teacher[1].pooled)
        ibot = parts['cls'] + parts['patch']
        if self.relation is None:
            return {'loss': ibot, **parts}
        boxes = list(info['box'].unbind(1))  # (B, 5) each
        spatial, channel = self.relation(self.student, self.teacher, student, local, teacher, boxes)
        total = self.relation.combine(ibot, spatial, channel)
        return {'loss': total, **parts, 'spatial': spatial, 'channel': channel}

    def ibot(
        self, student: list[Features], local: list[Features], teacher: list[Features], mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted losses of class tokens and of masked patches."""
        s = self.student.project('view', [f.pooled for f in student + local])  # (B, K) each
        patches = [self.student.neck['view'].patches(f.tokens) for f in student]  # (B, N, K)
        with torch.no_grad():
            t = self.teacher.project('view', [f.pooled for f in teacher])
            targets = [self.teacher.neck['view'].patches(f.tokens) for f in teacher]
        cls = self.head(s, t, self.now(self.teacher_temp))
        patch = self.patch_head.masked(
            patches, targets, mask.flatten(2), self.now(self.teacher_patch_temp)
        )
        return {'cls': self.cls_weight * cls, 'patch': self.patch_weight * patch}
