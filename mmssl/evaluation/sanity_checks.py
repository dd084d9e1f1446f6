"""Checks before an evaluation: random networks, features that are not finite, wrong labels."""

from typing import Any

import torch
from torch import Tensor

from ..core import UserError
from ..datasets.sources.base import numbered


def refuse_non_finite(x: Tensor, what: str) -> None:
    """Raise UserError '``what`` are not finite' with the number of bad rows of x (N, ...)."""
    bad = int((~x.isfinite()).reshape(len(x), -1).any(1).sum())
    if bad:
        raise UserError(
            f'{what} are not finite ({bad} of {len(x)}): the weights or the images are damaged, '
            'or values are too large for half precision'
        )


def check_filled(model: Any, pretrained: str) -> None:
    """Refuse a network that is random although a file was given for it. Raises UserError."""
    if model.backbone.weights_from is None:
        raise UserError(
            f'{pretrained}: the backbone is random after loading, it got no tensor of the file; '
            'give a file of this network, or pretrained=random if that is meant'
        )


@torch.no_grad()
def check_finite(model: Any, dataset: Any, pretrained: str) -> None:
    """Refuse a classifier's frozen network whose feature of the first image is not finite.

    Raises UserError. Training would end too, by a loss that is not, and advise a lower learning
    rate.
    """
    inputs = model.data_preprocessor(dict(inputs=dataset[0]['inputs'][None]))['inputs']
    was_training = model.training
    model.eval()
    feature = model.backbone.last_blocks_features(inputs, model.blocks, model.pool)  # (1, C)
    model.train(was_training)
    refuse_non_finite(feature, f'{pretrained}: the features of {dataset.name(0)}')


def check_labels(classes: int, dataset: Any, place: str) -> None:
    """Refuse labels that a classifier of ``classes`` cannot have been made for. Raises UserError.

    Numbers from a list may leave the highest classes out, class folders may not.
    """
    # a registered data set other than ours need not have labels
    if not len(getattr(dataset, 'labels', ())):
        raise UserError(f'{place}: the images have no labels, so there is no accuracy to measure')
    found = len(dataset.classes)
    if found > classes or (found < classes and dataset.classes != numbered(range(found))):
        raise UserError(
            f'{place}: {found} classes ({", ".join(dataset.classes[:3])}, ...) for a classifier of '
            f'{classes}: set model.head.num_classes={found} to train one, or test it on the '
            'classes it was trained on'
        )
