"""Classifier: a backbone and a linear layer, for linear probing and fine-tuning."""

import math
from typing import Any

import torch
from torch import Tensor

from ..core import UserError
from ..registry import MODELS
from .backbones import Backbone, Features
from .backbones.tokens import CLS_AND_MEAN
from .heads import ProjectorHead
from .heads.linear import LinearHead
from .logged_losses import LoggedLosses
from .mixup import BatchMixup
from .preprocessor import adopt_normalisation


@MODELS.register_module()
class Classifier(LoggedLosses):
    """Class scores of images, from features of a backbone's last blocks.

    ``frozen``: the backbone stays in eval mode without gradients (linear probing);
    ``backbone_train_mode``: it follows the mode all the same, so that its drop path acts in
    training (MoBY). ``blocks`` and ``pool`` choose the features, see
    `Backbone.last_blocks_features`. ``mixup`` takes the arguments of timm's Mixup (fine-tuning).
    ``head`` is a LinearHead, a ProjectorHead, which keeps the projector's first layer, or a
    SweepHead, which trains many layers at once; its ``in_features`` may be left out. Raises
    UserError for more blocks than there are.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        head: dict[str, Any],
        frozen: bool = False,
        backbone_train_mode: bool = False,
        blocks: int = 1,
        pool: str = 'auto',
        mixup: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        self.backbone: Backbone = MODELS.build(backbone)
        adopt_normalisation(self.data_preprocessor, self.backbone)
        self.blocks = blocks
        self.pool = pool
        self.frozen = frozen
        self.backbone_train_mode = backbone_train_mode
        self._check_blocks()
        if 'in_features' not in head:
            head = dict(head, in_features=self._feature_width())
        self.head = MODELS.build(head)
        self.mixup = None
        if mixup:
            self.mixup = BatchMixup(mixup, self.head.num_classes)
        if frozen:
            self.backbone.requires_grad_(False)

    def _check_blocks(self) -> None:
        count = self.backbone.stage_ends[-1] + 1
        if not 1 <= self.blocks <= count:
            raise UserError(
                f'model.blocks={self.blocks}, but the network has {count} blocks; use 1 to {count}',
                key='model.blocks',
                value=self.blocks,
            )

    def _feature_width(self) -> int:
        if self.pool in CLS_AND_MEAN:
            return self.backbone.num_features * (self.blocks + 1)
        widths = self.backbone.widths
        ends = self.backbone.stage_ends
        stages = [sum(i > end for end in ends) for i in range(ends[-1] + 1)]
        last = widths[-1] if self.pool == 'mean_raw' else self.backbone.num_features
        return sum(widths[stage] for stage in stages[-self.blocks : -1]) + last

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``, and from it a ProjectorHead's first layer."""
        self.backbone.init_weights()
        init = self.backbone.init_cfg
        if init and isinstance(self.head, ProjectorHead):
            self.head.load_first(init['checkpoint'], init.get('branch', 'export'))

    def train(self, mode: bool = True) -> 'Classifier':
        """Set the mode; a frozen backbone stays in eval, unless ``backbone_train_mode``."""
        super().train(mode)
        if self.frozen and not self.backbone_train_mode:
            self.backbone.eval()
        return self

    def encode(self, inputs: Tensor) -> Features:
        """(B, 3, H, W) -> Features of the backbone."""
        return self.backbone.encode(inputs)

    def scores(self, inputs: Tensor) -> Tensor:
        """Return the head's output: (B, 3, H, W) -> (B, classes), or (B, G, classes) of a sweep."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.backbone.last_blocks_features(inputs, self.blocks, self.pool)  # (B, C)
        found: Tensor = self.head(x)
        return found

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the class scores: (B, 3, H, W) -> (B, classes), of the best of several layers."""
        found: Tensor = self.head.answer(self.scores(inputs))
        return found

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Return the features of images (B, 3, H, W) at a stage, as mmpretrain names stages.

        'backbone': tuple of maps (B, C, h, w) or the class token (B, C); 'neck': tuple of the
        pooled features (B, C); 'pre_logits': what the head's last layer sees, (B, C) or of a
        ProjectorHead (B, hidden). Raises UserError for another stage.
        """
        if stage == 'backbone':
            maps = self.backbone.out_indices is not None
            return self.backbone(inputs) if maps else (self.backbone.summary(inputs),)
        x = self.backbone.last_blocks_features(inputs, self.blocks, self.pool)
        if stage == 'neck':
            return (x,)
        if stage == 'pre_logits':
            return self.head.pre_logits(x)
        raise UserError(
            f"stage '{stage}' is unknown; use 'backbone', 'neck' or 'pre_logits'",
            key='stage',
            value=stage,
        )

    def forward(
        self, inputs: Any, data_samples: dict[str, Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return what ``mode`` names of images (B, 3, H, W).

        'tensor': logits (B, classes); 'loss': {'loss': ()}; 'predict': one dict per image.
        ``data_samples['label']`` are the labels (B,). Raises UserError when the loss has none.
        """
        if mode == 'tensor':
            return self.logits(inputs)
        target = None if data_samples is None else data_samples.get('label')
        if mode == 'predict':
            return self.predict(inputs)
        if target is None:
            raise UserError(
                'a classifier needs the label of each image, but the data set has none; use one '
                'with labels',
                key='label',
                value=None,
            )
        if self.mixup is not None:
            inputs, target = self.mixup(inputs, target)
        return {'loss': self.head.loss(self.scores(inputs), target)}

    def uniform_loss(self, batch: int) -> float | None:
        """Return ln(classes), the loss of a uniform answer, for any ``batch``; None for a sweep.

        Some rates of a sweep may diverge: that is what it is to find out.
        """
        return math.log(self.head.num_classes) if isinstance(self.head, LinearHead) else None

    def predict(self, inputs: Tensor) -> list[dict[str, Any]]:
        """Return pred_scores (classes,), pred_label and pred_score of each image (B, 3, H, W).

        For G layers trained at once also all_scores (G, classes) and their rates.
        """
        every = self.scores(inputs).float()
        scores = self.head.answer(every).softmax(1)
        best, label = scores.max(1)
        answers: list[dict[str, Any]] = [
            dict(pred_scores=s, pred_label=int(i), pred_score=float(b))
            for s, i, b in zip(scores, label, best, strict=True)
        ]
        if every.ndim == 3:
            rates = self.head.rates.tolist()
            for answer, each in zip(answers, every, strict=True):
                answer |= dict(all_scores=each, rates=rates)  # (G, classes) and (G,)
        return answers
