"""Match regions of two images by their features, and score the matches (correspondence).

EsViT (Li et al. 2022), section 3.4 and its analysis; regions are the final tokens, row by row.
"""

import math
import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..datasets.transforms.random_view import RandomView
from ..datasets.transforms.view_params import ViewParams
from ..evaluation.sanity_checks import refuse_non_finite

COUNT = 10  # most similar pairs that are scored
COLORS: dict[str, Any] = dict(jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8)


class Match(NamedTuple):
    """Best match of each region of view one: similarity (N,), and its index in view two, at (N,).

    ``order`` (N,) lists the regions of view one, the most similar pair first.
    """

    similarity: Tensor
    at: Tensor
    order: Tensor


class Score(NamedTuple):
    """Share of exact matches among the best, their mean error in pixels, the next similarity."""

    accuracy: float
    distance: float
    similarity: float


def match(one: Tensor, two: Tensor) -> Match:
    """Match regions (N, C) with those (K, C) of largest cosine.

    Raises UserError for features that are not finite.
    """
    refuse_non_finite(torch.cat([one, two]), 'features of regions')
    cosines = F.normalize(one.double(), dim=1) @ F.normalize(two.double(), dim=1).T  # (N, K)
    similarity, at = cosines.max(1)
    return Match(similarity, at, similarity.argsort(descending=True, stable=True))


def centres(grid: tuple[int, int], cell: tuple[float, float]) -> Tensor:
    """Return (x, y) of the middle of each of h * w cells of (width, height) pixels: (N, 2)."""
    y, x = torch.meshgrid(*(torch.arange(n).double() + 0.5 for n in grid), indexing='ij')
    return torch.stack([x.flatten() * cell[0], y.flatten() * cell[1]], 1)


def true_places(points: Tensor, box: tuple[int, ...], flip: bool) -> Tensor:
    """Map points (N, 2) of an image into its view, in shares of the view's sides: (N, 2).

    ``box`` (x, y, w, h) is what the view shows. Points outside of it are nan.
    """
    corner, size = points.new_tensor(box[:2]), points.new_tensor(box[2:])
    found = (points - corner) / size
    outside = ((found < 0) | (found >= 1)).any(1, keepdim=True)
    if flip:
        found = torch.stack([1 - found[:, 0], found[:, 1]], 1)
    return found.masked_fill(outside, float('nan'))


def mirror_score(
    one: Tensor, two: Tensor, grid: tuple[int, int], cell: tuple[float, float], count: int = COUNT
) -> Score:
    """Score regions (N, C) of an image against those (N, C) of its mirror image.

    EsViT's ``measure_correspondence``: of the ``count`` most similar matches, how many are the
    mirrored cell and how far off they are; ``similarity`` is that of the first match not counted.
    """
    found = match(one, two)
    h, w = grid
    places = centres(grid, cell).to(one.device)
    truth = torch.arange(h * w, device=one.device).view(h, w).flip(1).flatten()
    best = found.order[:count]
    off = places[found.at[best]] - places[truth[best]]
    errors = off.square().sum(1).sqrt().float()
    # single precision, one after the other: so the official figures were added up
    distance = sum(errors.unbind()) / len(errors)
    last = found.similarity[found.order[min(count, h * w - 1)]]
    return Score((errors == 0).double().mean().item(), float(distance), last.item())


def mean_score(scores: list[Score]) -> Score:
    """Return the means over images."""
    return Score(*(math.fsum(values) / len(scores) for values in zip(*scores, strict=True)))


# views --------------------------------------------------------------------------------------------
def mirrored(view: Tensor, seed: int) -> Tensor:
    """Return a view (3, S, S) flipped, jittered and grey, as EsViT measures with."""
    side = view.shape[-1]
    make = RandomView(side, scale=(1, 1), ratio=(1, 1), flip=1.0, gray=1.0, **COLORS)
    return _apply(make, view, make.sample_params(side, side, random.Random(seed)))


def other_view(view: Tensor, seed: int) -> tuple[Tensor, ViewParams]:
    """Return another view of a view (3, S, S), as EsViT draws pairs with, and its parameters."""
    side = view.shape[-1]
    make = RandomView(side, scale=(0.4, 0.6), gray=0.2, interpolation='bicubic', **COLORS)
    drawn = make.sample_params(side, side, random.Random(seed))
    return _apply(make, view, drawn), drawn


def _apply(make: RandomView, view: Tensor, drawn: ViewParams) -> Tensor:
    pixels = np.ascontiguousarray(view.permute(1, 2, 0).cpu().numpy())
    return torch.from_numpy(make.apply(pixels, drawn).copy()).permute(2, 0, 1)
