"""What would make a figure worthless, refused before hours are spent on it."""

from typing import Any

import torch

from ..core import UserError
from ..datasets.sources.base import numbered


def check_filled(model: Any, pretrain: str) -> None:
    """Refuse a network that is random although a file was given for it."""
    if getattr(model.backbone, 'weights_from', None) is None:
        raise UserError(
            f'{pretrain}: the backbone is random after loading, no tensor of the file went there; '
            'give a file of this network, or pretrain=random if that is meant'
        )


@torch.no_grad()
def check_finite(model: Any, dataset: Any, pretrain: str) -> None:
    """Refuse a classifier's frozen network whose feature of the first image is not finite.

    Training would end too, by a loss that is not, and advise a lower learning rate.
    """
    inputs = model.data_preprocessor(dict(inputs=dataset[0]['inputs'][None]))['inputs']
    was_training = model.training
    model.eval()
    feature = model.backbone.descriptor(inputs, model.blocks, model.pool)  # (1, C)
    model.train(was_training)
    if not feature.isfinite().all():
        raise UserError(
            f'{pretrain}: the features of {dataset.name(0)} are not finite: the weights are damaged'
        )


def check_labels(classes: int, dataset: Any, place: str) -> None:
    """Refuse labels that a classifier of ``classes`` cannot have been made for.

    Numbers from a list may leave the highest classes out, class folders may not.
    """
    if not len(getattr(dataset, 'labels', ())):
        raise UserError(f'{place}: the images have no labels, so there is no accuracy to measure')
    found = len(dataset.classes)
    if found > classes or (found < classes and dataset.classes != numbered(range(found))):
        raise UserError(
            f'{place}: {found} classes ({", ".join(dataset.classes[:3])}, ...) for a classifier of '
            f'{classes}: set model.head.num_classes={found} to train one, or test it on the '
            'classes it was trained on'
        )
