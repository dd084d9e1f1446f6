"""Checks before an evaluation: random networks, features that are not finite, wrong labels."""

from typing import Any

import torch
from torch import Tensor

from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.sources.base import numbered

ALIKE = 1e-4  # standard deviation of unit features that is no more than rounding


def refuse_non_finite(x: Tensor, what: str, key: str = '', value: object = None) -> None:
    """Check that x (N, ...) is finite. Raises UserError when it is not.

    The message begins with ``what``, which is also the key of the error unless ``key`` is given.
    """
    bad = int((~x.isfinite()).reshape(len(x), -1).any(1).sum())
    if bad:
        raise UserError(
            f'{what} are not finite ({bad} of {len(x)}): the weights or the images are damaged, '
            'or values are too large for half precision',
            key=key or what,
            value=value,
        )


def check_filled(model: Any, pretrained: str) -> None:
    """Check that the weights were loaded. Raises UserError when the backbone is still random."""
    if model.backbone.weights_from is None:
        raise UserError(
            f'{pretrained}: the backbone is random after loading, it got no tensor of the file; '
            'give a file of this network, or pretrained=random for random weights',
            key='pretrained',
            value=pretrained,
        )


@torch.no_grad()
def check_finite(model: Any, dataset: Any, pretrained: str) -> None:
    """Check the feature of the first image by a classifier's frozen network.

    Raises UserError when it is not finite. Without the check training would stop at a non-finite
    loss and advise a lower learning rate.
    """
    inputs = model.data_preprocessor(dict(inputs=dataset[0]['inputs'][None]))['inputs']
    was_training = model.training
    model.eval()
    feature = model.backbone.last_blocks_features(inputs, model.blocks, model.pool)  # (1, C)
    model.train(was_training)
    what = f'{pretrained}: the features of {dataset.name(0)}'
    refuse_non_finite(feature, what, 'pretrained', pretrained)


def advice_on_labels(dataset: Any) -> str:
    """Return what to do where images have no labels, with the cause if the data set knows it."""
    if isinstance(dataset, ImageDataset) and dataset.source.unlabelled:
        return f'{dataset.source.unlabelled}: move them'
    return 'use class folders or a list with labels'


def check_labels(classes: int, dataset: Any, place: str) -> None:
    """Check that the labels of a data set fit a classifier of ``classes``.

    ``place`` is the config key of the data set. Raises UserError when there are no labels, more
    classes, or fewer class folders; labels of a list may leave out the highest classes.
    """
    # a registered data set other than ours need not have labels
    if not len(getattr(dataset, 'labels', ())):
        raise UserError(
            f'{place}: the images have no labels, so there is no accuracy to measure; '
            f'{advice_on_labels(dataset)}',
            key=place,
            value=None,
        )
    found = len(dataset.classes)
    if found > classes or (found < classes and dataset.classes != numbered(range(found))):
        raise UserError(
            f'{place}: {found} classes ({", ".join(dataset.classes[:3])}, ...) for a classifier of '
            f'{classes}: set model.head.num_classes={found} to train one, or test it on the '
            'classes it was trained on',
            key='model.head.num_classes',
            value=classes,
        )
