"""Segmentation by frozen patch features: labels of patches, kNN and linear predictions."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError
from . import probe
from .knn import nearest
from .metrics.mean_iou import overlaps
from .probe import Layers, Recipe, Scale

IGNORED = 255  # pixels that do not count, in masks
K = 30  # neighbours of a patch, and the temperature of their votes (Balazevic et al. 2023)
TEMPERATURE = 0.02
# fewer pairs and epochs than of whole images: patches are many, and alike
RECIPE = Recipe(
    rates=(0.003, 0.01, 0.03, 0.1, 0.3), decays=(0.0, 1e-4, 1e-2), epochs=20, held_out=0.2
)


class Patches(NamedTuple):
    """Features (M, C) of patches, shares (M, classes) of their pixels by class, images (M,)."""

    features: Tensor
    shares: Tensor
    images: Tensor


def patch_shares(mask: NDArray[Any], grid: tuple[int, int], classes: int) -> Tensor:
    """Return which share of each patch's pixels is of each class: mask (H, W) -> (h * w, classes).

    A pixel belongs to the patch that its upper left corner is in. Pixels that are `IGNORED` do not
    count; the row of a patch that has no other is 0.
    """
    (h, w), (height, width) = grid, mask.shape
    rows = np.arange(height) * h // height
    columns = np.arange(width) * w // width
    place = rows[:, None] * w + columns  # (H, W)
    counted = mask != IGNORED
    flat = place[counted] * classes + mask[counted]
    counts = np.bincount(flat, minlength=h * w * classes).reshape(h * w, classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return torch.from_numpy(shares.astype(np.float32))


def sample_patches(features: Tensor, shares: Tensor, most: int, seed: int) -> Tensor:
    """Return the rows of at most ``most`` patches of an image that have a label, drawn by a seed.

    features (N, C), shares (N, classes).
    """
    labelled = shares.sum(1).nonzero()[:, 0]
    order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed))
    return labelled[order[:most]]


def knn_shares(bank: Patches, queries: Tensor, k: int = K) -> Tensor:
    """Return the classes of patches by their nearest: queries (Q, C) -> (Q, classes), rows sum 1.

    The shares of the k nearest patches by cosine, weighed by a softmax of cosine / `TEMPERATURE`
    (Balazevic et al. 2023, "Towards In-Context Scene Understanding").
    """
    cosines, rows = nearest(bank.features, queries, min(k, len(bank.features)))
    weights = (cosines / TEMPERATURE).softmax(1)  # (Q, k)
    return (weights[:, :, None] * bank.shares[rows]).sum(1)


class LinearSegmenter(NamedTuple):
    """A linear layer over standardised features of patches, and how it was chosen."""

    layer: Layers
    scale: Scale
    rate: float
    decay: float

    def scores(self, queries: Tensor) -> Tensor:
        """Return the logits of patches: (Q, C) -> (Q, classes)."""
        return self.layer.logits(self.scale(queries))[:, 0]


def train_linear(bank: Patches, recipe: Recipe = RECIPE, seed: int = 0) -> LinearSegmenter:
    """Train a linear layer on patches, each with the class of most of its pixels as its label.

    As DINOv2's linear segmentation a layer on frozen patch tokens (Oquab et al. 2023, section
    7.4), trained on stored features. Rate and decay are chosen on patches of held-out images.
    Raises UserError when there are too few images to hold some out.
    """
    labels = bank.shares.argmax(1)
    classes = bank.shares.shape[1]
    scale = Scale.of(bank.features)
    x = scale(bank.features)
    choice = probe.choose(x, labels, classes, recipe, _held_out_images(bank, recipe, seed), seed)
    rate, decay = recipe.grid()[choice.best]
    layer = probe.train(x, labels, classes, [(rate, decay)], recipe, seed)
    return LinearSegmenter(layer, scale, rate, decay)


def _held_out_images(bank: Patches, recipe: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    """Return the patches of images to train on (T,) and of those that choose (H,)."""
    images = bank.images.unique()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    count = round(recipe.held_out * len(images))
    if not 0 < count < len(images):
        raise UserError(
            f'linear segmentation: {recipe.held_out:g} of {len(images)} training images leaves '
            'none to train on or none to choose by; use more images',
            key='probe.held_out',
            value=recipe.held_out,
        )
    held = torch.isin(bank.images, images[order[:count].to(images.device)])
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


def pixel_counts(scores: Tensor, grid: tuple[int, int], mask: NDArray[Any]) -> NDArray[Any]:
    """Return correct, predicted and true pixels of each class of an image: int64 (3, classes).

    scores (h * w, classes) of patches are enlarged bilinearly to the mask (H, W); the class of the
    highest is predicted.
    """
    return overlap_counts(predicted_mask(scores, grid, mask.shape), mask, scores.shape[1])


def predicted_mask(scores: Tensor, grid: tuple[int, int], size: tuple[int, ...]) -> Tensor:
    """Return the class of each pixel: scores (h * w, classes) of patches -> (H, W) int64."""
    maps = scores.T.reshape(1, -1, *grid)
    return F.interpolate(maps, size[:2], mode='bilinear', align_corners=False)[0].argmax(0)


def overlap_counts(predicted: Tensor, mask: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return `overlaps` of a predicted mask (H, W) with the true one (H, W): (3, classes)."""
    truth = torch.from_numpy(mask.astype(np.int64))
    found: NDArray[Any] = overlaps(predicted.cpu(), truth, classes, IGNORED).numpy()
    return found
