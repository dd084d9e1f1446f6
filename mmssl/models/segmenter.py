"""Semantic segmentation on ImageNet-S: a backbone and a linear classifier of its tokens."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError
from ..functional.resize import resize
from ..registry import MODELS
from .backbones import Backbone
from .heads.linear import cross_entropy
from .logged_losses import LoggedLosses
from .preprocessor import adopt_normalisation


@MODELS.register_module()
class Segmenter(LoggedLosses):
    """Class scores of every token of the last block, upsampled (Gao et al. 2022).

    ``head`` is a LinearHead over tokens, the same as a 1x1 convolution; its ``in_features`` may
    be left out. In training, logits are upsampled by 2 and masks resized to them; pixels of class
    ``ignore`` do not count. Predictions have the size of the mask; for images of more than
    ``max_side`` squared pixels they are made at ``max_side`` pixels and resized.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        head: dict[str, Any],
        ignore: int = 1000,
        max_side: int = 1000,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        self.backbone: Backbone = MODELS.build(backbone)
        adopt_normalisation(self.data_preprocessor, self.backbone)
        head = dict(head)
        head.setdefault('in_features', self.backbone.out_channels[-1])
        self.head = MODELS.build(head)
        self.ignore = ignore
        self.max_side = max_side

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``; constructors have initialised all else."""
        self.backbone.init_weights()

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the class scores of tokens: (B, 3, H, W) -> (B, classes, h, w)."""
        # patches over the edge are left out: the official code's convolution rounds down
        stride = self.backbone.out_strides[-1]
        h, w = (max(side // stride, 1) * stride for side in inputs.shape[-2:])
        grid = self.backbone(inputs[..., :h, :w])[-1]  # (B, C, h, w)
        scores: Tensor = self.head(grid.permute(0, 2, 3, 1))  # (B, h, w, classes)
        return scores.permute(0, 3, 1, 2)

    def uniform_loss(self, batch: int) -> float:
        """Return ln(classes), the loss of a uniform answer, for any ``batch``."""
        return math.log(self.head.num_classes)

    def forward(
        self, inputs: Any, data_samples: dict[str, Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return what ``mode`` names of images (B, 3, H, W).

        'tensor': logits (B, classes, h, w); 'loss': {'loss': ()}; 'predict': one dict per image.
        ``data_samples['label']`` are the masks (B, H, W). Raises UserError when the loss has none.
        """
        if mode == 'tensor':
            return self.logits(inputs)
        mask = None if data_samples is None else data_samples.get('label')
        if mode == 'predict':
            return self.predict(inputs, inputs.shape[-2:] if mask is None else mask.shape[-2:])
        if mask is None or mask.ndim != 3:
            raise UserError(
                'segmentation needs a mask as the label of each image, but the data set has none; '
                'use a source of masks, such as ImageNetSSource',
                key='label',
                value=None if mask is None else tuple(mask.shape),
            )
        return {'loss': self.loss(self.logits(inputs), mask)}

    def loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Mean cross-entropy () of the judged cells: logits (B, classes, h, w), mask (B, H, W)."""
        h, w = (2 * side for side in logits.shape[-2:])
        logits = resize(logits, h, w, 'bilinear')  # (B, classes, 2h, 2w)
        target = F.interpolate(mask[:, None].float(), (h, w), mode='nearest').long()
        judged = (target != self.ignore).sum().clamp_min(1)
        # rows of one cell each: CUDA's loss of maps is not deterministic
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2)  # (B*2h*2w, classes)
        total = cross_entropy(rows, target.flatten(), ignore_index=self.ignore, reduction='sum')
        return total / judged

    def predict(self, inputs: Tensor, size: Sequence[int]) -> list[dict[str, Tensor]]:
        """Return ``pred_mask`` of each image (B, 3, h, w), an int64 tensor of ``size`` (H, W)."""
        height, width = size
        share = 1.0
        if height * width > self.max_side**2:
            share = self.max_side / max(height, width)
        inner = (max(round(height * share), 1), max(round(width * share), 1))
        scores = F.interpolate(self.logits(inputs).float(), inner, mode='bilinear')
        classes = scores.argmax(1)  # (B, h', w')
        if inner != (height, width):
            whole = F.interpolate(classes[:, None].float(), (height, width), mode='nearest')
            classes = whole[:, 0].long()
        return [dict(pred_mask=mask) for mask in torch.unbind(classes)]
