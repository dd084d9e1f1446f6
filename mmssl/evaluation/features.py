"""Features of a whole data set, each image once."""

import logging
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ..core import UserError, dist
from ..core.faults import SHARE, Faults, of_batch


class Bank(NamedTuple):
    """features (N, C), labels (N,), -1 without, and indices (N,) in the data set, ascending.

    Images that could not be read are left out.
    """

    features: Tensor
    labels: Tensor
    indices: Tensor


@torch.no_grad()
def extract(
    model: Any, loader: Any, name: str = '', feature: Any = None, share: float = SHARE
) -> Bank:
    """Run ``model`` in eval mode over a loader without shuffling; all ranks get all features.

    The last partial batch counts once. Unreadable images are named and left out; more than
    ``share`` of them are an error, and so are features that are not finite. ``feature`` maps
    images (B, 3, H, W) to (B, C); by default the model's pooled feature.
    """
    feature = feature or (lambda images: model.encode(images).pooled)
    was_training = model.training
    model.eval()
    features, labels, indices = [], [], []
    faults = Faults(len(loader.dataset), share)
    screen = Console()
    quiet = dist.rank() != 0 or not screen.is_terminal
    with Progress(console=screen, transient=True, disable=quiet) as progress:
        task = progress.add_task(f'features {name}', total=len(loader))
        for batch in loader:
            data = model.data_preprocessor(batch)
            samples = data['data_samples']
            x = feature(data['inputs']).float()  # (B, C)
            found = of_batch(samples)
            faults.add(found, len(x))
            sound = torch.tensor([not fault for fault in found or [''] * len(x)], device=x.device)
            features.append(x[sound])
            indices.append(samples['index'].to(x.device)[sound])
            label = samples.get('label', torch.full_like(samples['index'], -1))
            labels.append(label.to(x.device)[sound])
            progress.advance(task)
    model.train(was_training)
    _report(faults, name)
    joined = [dist.gather_uneven(torch.cat(parts)) for parts in (features, labels, indices)]
    order = joined[2].argsort()
    bank = Bank(joined[0][order], joined[1][order], joined[2][order])
    _check(bank, model, loader.dataset)
    return bank


def _check(bank: Bank, model: Any, dataset: Any) -> None:
    """Refuse features that are not finite, naming the file of the weights and an image."""
    bad = ~torch.isfinite(bank.features).all(1)
    if not bad.any():
        return
    file = getattr(getattr(model, 'backbone', None), 'weights_from', None) or 'the network'
    image = dataset.name(int(bank.indices[bad][0]))
    raise UserError(
        f'{file}: the features of {int(bad.sum())} of {len(bad)} images are not finite (first '
        f'{image}): the weights are damaged, or too large for half precision'
    )


def _report(faults: Faults, name: str) -> None:
    """Name the unreadable images of all ranks. Raises UserError when there are too many."""
    mine = (list(faults.files.values()), faults.seen)
    faults = Faults(faults.total, faults.share)
    for found, seen in dist.gather_objects(mine):
        faults.add(found, seen)
    for fault in faults.files.values():
        message = f'unreadable image, not among the features {name}: {fault}'
        print_log(message, logger='current', level=logging.WARNING)
    faults.check()
