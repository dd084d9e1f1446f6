"""A backbone and a classifier of tokens: semantic segmentation on ImageNet-S."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError
from ..functional.resize import resize
from ..registry import MODELS
from .backbones import Backbone
from .heads.linear import cross_entropy


@MODELS.register_module()
class Segmenter(BaseModel):
    """Class scores for every token of the last block, made larger (Gao et al. 2022).

    ``head`` is a LinearHead over tokens, the same as a 1x1 convolution; its ``in_features`` may
    be left out. In training logits are made twice as large and masks smaller to meet; pixels of
    class ``ignore`` do not count. Predictions have the size of the mask, and are made at
    ``max_side`` pixels first where an image has more than max_side squared.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        ignore: int = 1000,
        max_side: int = 1000,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type='ViewPreprocessor')))
        self.backbone: Backbone = MODELS.build(backbone)
        head = dict(head)
        head.setdefault('in_features', self.backbone.out_channels[-1])
        self.head = MODELS.build(head)
        self.ignore = ignore
        self.max_side = max_side

    def init_weights(self) -> None:
        """Load the backbone's ``init_cfg``; constructors have initialised all else."""
        self.backbone.init_weights()

    def logits(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes, h, w), one for each token."""
        # patches over the edge are left out: the official code's convolution rounds down
        stride = self.backbone.out_strides[-1]
        h, w = (max(side // stride, 1) * stride for side in inputs.shape[-2:])
        grid = self.backbone(inputs[..., :h, :w])[-1]  # (B, C, h, w)
        scores: Tensor = self.head(grid.permute(0, 2, 3, 1))  # (B, h, w, classes)
        return scores.permute(0, 3, 1, 2)

    def forward(
        self, inputs: Any, data_samples: dict[str, Any] | None = None, mode: str = 'tensor'
    ) -> Any:
        """'tensor': logits (B, classes, h, w); 'loss': {'loss': ()}; 'predict': one dict an image.

        ``data_samples['label']`` is the mask (B, H, W).
        """
        if mode == 'tensor':
            return self.logits(inputs)
        mask = None if data_samples is None else data_samples.get('label')
        if mode == 'predict':
            return self.predict(inputs, inputs.shape[-2:] if mask is None else mask.shape[-2:])
        if mask is None or mask.ndim != 3:
            raise UserError('segmentation needs a mask for each image, but the data set has none')
        return {'loss': self.loss(self.logits(inputs), mask)}

    def loss(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Mean cross-entropy of the judged cells; logits (B, classes, h, w), mask (B, H, W)."""
        h, w = (2 * side for side in logits.shape[-2:])
        logits = resize(logits, h, w, 'bilinear')  # (B, classes, 2h, 2w)
        target = F.interpolate(mask[:, None].float(), (h, w), mode='nearest').long()
        judged = (target != self.ignore).sum().clamp_min(1)
        # rows of one cell each: CUDA's loss of maps is not deterministic
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2)  # (B*2h*2w, classes)
        total = cross_entropy(rows, target.flatten(), ignore_index=self.ignore, reduction='sum')
        return total / judged

    def predict(self, inputs: Tensor, size: Sequence[int]) -> list[dict[str, Tensor]]:
        """(B, 3, h, w) -> per image pred_mask, int64 of ``size`` (H, W)."""
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
