"""Extraction of the features of a whole data set over all ranks, each image once."""

import logging
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..core import dist
from ..core.bad_samples import SHARE, BadSamples, bad_samples_of, readable
from ..core.progress import LoopProgress
from .sanity_checks import refuse_non_finite


class Bank(NamedTuple):
    """Features (N, C) of the images of a data set, labels (N,) and indices (N,), ascending.

    Labels are -1 for images without one. Unreadable images are left out.
    """

    features: Tensor
    labels: Tensor
    indices: Tensor


@torch.no_grad()
def extract(
    model: Any, loader: Any, name: str = '', feature: Any = None, share: float = SHARE
) -> Bank:
    """Return the features (N, C) of a loader's images, on all ranks, by ``model`` in eval mode.

    The loader must not shuffle. The last partial batch counts once. Unreadable images are logged
    and left out. ``feature`` maps images (B, 3, H, W) to (B, C), by default the model's pooled
    feature. Raises UserError when more than ``share`` of the images are unreadable or a feature
    is not finite.
    """
    feature = feature or (lambda images: model.encode(images).pooled)
    was_training = model.training
    model.eval()
    features: list[Tensor] = []
    labels: list[Tensor] = []
    indices: list[Tensor] = []
    bad_samples = BadSamples(len(loader.dataset), share)
    with LoopProgress(f'features {name}', len(loader)) as progress:
        for batch in loader:
            data = model.data_preprocessor(batch)
            samples = data['data_samples']
            x = feature(data['inputs']).float()  # (B, C)
            bad_samples.add(bad_samples_of(samples), len(x))
            places = [i for i, _ in readable(samples, range(len(x)))]
            rows = torch.tensor(places, dtype=torch.long, device=x.device)
            features.append(x[rows])
            indices.append(samples['index'].to(x.device)[rows])
            label = samples.get('label', torch.full_like(samples['index'], -1))
            labels.append(label.to(x.device)[rows])
            progress.advance()
    model.train(was_training)
    _report(bad_samples.joined(), name)
    all_features = dist.gather_uneven(torch.cat(features))
    all_labels = dist.gather_uneven(torch.cat(labels))
    all_indices = dist.gather_uneven(torch.cat(indices))
    order = all_indices.argsort()
    bank = Bank(all_features[order], all_labels[order], all_indices[order])
    _check_finite(bank, model, loader.dataset)
    return bank


def _check_finite(bank: Bank, model: Any, dataset: Any) -> None:
    """Refuse features that are not finite, naming the file of the weights and an image."""
    bad = ~torch.isfinite(bank.features).all(1)  # (N,)
    if bad.any():
        # a model of one's own may hold its backbone elsewhere, as any `encode` will do
        backbone = getattr(model, 'backbone', None)
        file = getattr(backbone, 'weights_from', None)
        first = dataset.name(int(bank.indices[bad][0]))
        what = f'the features of {int(bad.sum())} of {len(bad)} images (first {first})'
        if file:
            refuse_non_finite(bank.features, f'{file}: {what}', 'file', str(file))
        refuse_non_finite(bank.features, f'the network: {what}', 'features')


def _report(bad_samples: BadSamples, name: str) -> None:
    """Name the unreadable images of all ranks. Raises UserError when there are too many."""
    for report in bad_samples.files.values():
        message = f'unreadable image, not among the features {name}: {report}'
        print_log(message, logger='current', level=logging.WARNING)
    bad_samples.check()
