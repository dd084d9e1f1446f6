"""Features of a whole data set, each image once."""

from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ..core import dist


class Bank(NamedTuple):
    """features (N, C) and labels (N,), in the order of the data set; -1 without labels."""

    features: Tensor
    labels: Tensor


@torch.no_grad()
def extract(model: Any, loader: Any, name: str = '', feature: Any = None) -> Bank:
    """Run ``model`` in eval mode over a loader without shuffling; all ranks get all features.

    The last partial batch counts once. ``feature`` maps images (B, 3, H, W) to (B, C); by
    default the model's pooled feature.
    """
    feature = feature or (lambda images: model.encode(images).pooled)
    was_training = model.training
    model.eval()
    features, labels, indices = [], [], []
    screen = Console()
    quiet = dist.rank() != 0 or not screen.is_terminal
    with Progress(console=screen, transient=True, disable=quiet) as progress:
        task = progress.add_task(f'features {name}', total=len(loader))
        for batch in loader:
            data = model.data_preprocessor(batch)
            samples = data['data_samples']
            x = feature(data['inputs']).float()  # (B, C)
            features.append(x)
            indices.append(samples['index'].to(x.device))
            labels.append(samples.get('label', torch.full_like(samples['index'], -1)).to(x.device))
            progress.advance(task)
    model.train(was_training)
    joined = [dist.gather_uneven(torch.cat(parts)) for parts in (features, labels, indices)]
    order = joined[2].argsort()
    return Bank(joined[0][order], joined[1][order])
