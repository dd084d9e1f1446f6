"""Features of the measured images: which are unlike all others, which near pairs are alike."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..apis.images import evaluation_steps, reading_step
from ..datasets import ImageDataset
from ..evaluation.feature_extraction import extract
from ..evaluation.knn import nearest
from ..registry import TRANSFORMS

BANK = 20_000  # images among which neighbours are looked for
K = 5  # neighbours whose mean distance is the score
SPREADS = 6.0  # median absolute deviations above the median from which an image is an outlier
MOST = 200  # outliers that are told, the furthest first
ALIKE = 0.85  # cosine from which two images of near hashes are near duplicates


def extract_all(
    model: Any, images: Mapping[str, ImageDataset], batch_size: int, workers: int
) -> tuple[Tensor, Tensor]:
    """Return unit features (M, C) of the readable images of all sets, and their indices (M,).

    Indices count over all sets, in their order. Features of all images are held in memory.
    """
    steps = [reading_step(model), *evaluation_steps(model)]
    features, indices, start = [], [], 0
    for name, dataset in images.items():
        dataset.transforms = [TRANSFORMS.build(step) for step in steps]
        loader = DataLoader(dataset, batch_size, num_workers=workers)
        bank = extract(model, loader, name, share=1.0)
        features.append(F.normalize(bank.features.cpu(), dim=1))
        indices.append(bank.indices.cpu() + start)
        start += len(dataset)
    return torch.cat(features), torch.cat(indices)


def outliers(features: Tensor, indices: Tensor) -> list[tuple[int, float]]:
    """Return (index, score) of images far from all others, the furthest first.

    The score of features (M, C) is 1 - the mean cosine to the `K` nearest of at most `BANK` images;
    one of `SPREADS` median absolute deviations above the median makes an outlier.
    """
    if len(features) <= K + 1:
        return []
    step = max(1, len(features) // BANK)
    cosines, rows = nearest(features[::step], features, K + 1)
    itself = rows * step == torch.arange(len(features))[:, None]
    cosines = cosines.masked_fill(itself, 0)
    others = (~itself).sum(1).clamp(max=K)
    # of images that are not in the bank the last neighbour is one too many
    cosines[~itself.any(1), K] = 0
    scores = 1 - cosines.sum(1) / others
    median = scores.median()
    spread = (scores - median).abs().median().clamp(min=1e-6)
    order = scores.argsort(descending=True)
    far = order[scores[order] > median + SPREADS * spread][:MOST]
    return [(int(indices[i]), float(scores[i])) for i in far]


class Alike:
    """Says of pairs of images whether their features are alike, for `near_groups`."""

    def __init__(self, features: Tensor, indices: Tensor) -> None:
        self.features = features
        self.row = {int(index): i for i, index in enumerate(indices)}

    def __call__(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Return of indices (P,) and (P,) which pairs have a cosine of at least `ALIKE`.

        Images that the network's config cannot read have none.
        """
        a = torch.tensor([self.row.get(int(i), -1) for i in first])
        b = torch.tensor([self.row.get(int(i), -1) for i in second])
        cosines = (self.features[a] * self.features[b]).sum(1)
        return ((cosines >= ALIKE) & (a >= 0) & (b >= 0)).numpy()
