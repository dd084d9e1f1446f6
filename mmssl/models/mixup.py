"""Mixup and CutMix: pairs of training images, blended or pasted into each other."""

import inspect
from typing import Any

from timm.data import Mixup
from torch import Tensor

from ..core import UserError
from ..core.errors import closest


class BatchMixup:
    """timm's Mixup and CutMix of a batch (Zhang et al. 2018, Yun et al. 2019), from a config.

    ``settings`` are timm's arguments: mixup_alpha, cutmix_alpha, prob, switch_prob, mode,
    label_smoothing. Raises UserError for others, and when nothing would be mixed.
    """

    def __init__(self, settings: dict[str, Any], classes: int) -> None:
        known = [name for name in inspect.signature(Mixup).parameters if name != 'num_classes']
        for key in settings:
            if key not in known:
                raise UserError(
                    f'model.mixup.{key} is no argument of timm.data.Mixup{closest(key, known)}',
                    key=f'model.mixup.{key}',
                    value=settings[key],
                )
        strengths = {'mixup_alpha': 1.0, 'cutmix_alpha': 0.0, 'cutmix_minmax': None}  # timm's
        if not any({**strengths, **settings}[key] for key in strengths):
            raise UserError(
                'model.mixup: give mixup_alpha or cutmix_alpha above 0, or mixup=None',
                key='model.mixup',
                value=settings,
            )
        self.mixup = Mixup(**settings, num_classes=classes)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed images (B, 3, H, W) and shares of classes (B, classes) of labels (B,).

        Raises UserError when B is odd, as images are mixed in pairs.
        """
        if len(images) % 2:
            raise UserError(
                f'mixup pairs the images of a batch, and this batch has {len(images)}: give an '
                'even train_dataloader.batch_size and keep drop_last, or model.mixup=None',
                key='train_dataloader.batch_size',
                value=len(images),
            )
        mixed: tuple[Tensor, Tensor] = self.mixup(images, labels)
        return mixed
