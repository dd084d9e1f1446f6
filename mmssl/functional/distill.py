"""Distillation losses: cross-entropy of views, matching of regions, distances of features."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.precision import full_precision


@full_precision
def cross_entropy(targets: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return -sum_k targets_k log softmax(logits / temperature)_k: (..., K) twice -> (...)."""
    return -(targets * F.log_softmax(logits / temperature, dim=-1)).sum(-1)


FEATURE_LOSSES = ('cosine', 'smooth_l1')


@full_precision
def feature_loss(student: Tensor, teacher: Tensor, kind: str) -> Tensor:
    """Return the mean distance () of features (..., C) from a teacher's (..., C).

    ``kind``: 'cosine' is 1 - cosine; 'smooth_l1' the Huber loss against features of mean 0 and
    variance 1 over channels (Wei et al. 2022 whiten them so).
    """
    if kind == 'cosine':
        return 1 - F.cosine_similarity(student, teacher, dim=-1).mean()
    return F.smooth_l1_loss(student, F.layer_norm(teacher, teacher.shape[-1:]))


@torch.no_grad()
@full_precision
def match_regions(student: Tensor, teacher: Tensor) -> Tensor:
    """Index of the teacher region most similar to each student region.

    Backbone features student (B, N, C) and teacher (B, M, C) -> (B, N), by cosine, the first
    of equals (EsViT, eq. 4; ``DDINOLoss``).
    """
    student = F.normalize(student, dim=-1)
    teacher = F.normalize(teacher, dim=-1)
    return (student @ teacher.transpose(1, 2)).argmax(-1)


def match_views(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[list[Tensor]]:
    """Matches of V student views (B, N, C) in T teacher views (B, M, C): T lists of V (B, N).

    The match of a view with itself is empty, (0,).
    """
    return [
        [match_regions(s, t) if v != i else t.new_empty(0) for v, s in enumerate(student)]
        for i, t in enumerate(teacher)
    ]


def pick_regions(regions: Tensor, index: Tensor) -> Tensor:
    """Gather regions (B, M, K) by index (B, N) -> (B, N, K)."""
    return regions.gather(1, index[..., None].expand(-1, -1, regions.shape[-1]))


def mean_of_pairs(pairs: Tensor) -> Tensor:
    """Mean of losses (teacher views, student views) without those on the diagonal, a scalar ()."""
    teachers, students = pairs.shape
    return pairs.sum() / (teachers * students - min(teachers, students))
