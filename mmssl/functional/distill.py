"""Distillation losses: cross-entropy of views, matching of regions, distances of features."""

from collections.abc import Iterator, Sequence
from itertools import groupby

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
    return _most_similar(F.normalize(student, dim=-1), F.normalize(teacher, dim=-1))


def _most_similar(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the place (B, N) of the largest product of unit vectors (B, N, C), (B, M, C)."""
    return (student @ teacher.transpose(1, 2)).argmax(-1)


@torch.no_grad()
@full_precision
def match_views(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[list[Tensor]]:
    """Matches of V student views (B, N, C) in T teacher views (B, M, C): T lists of V (B, N).

    Each as `match_regions` finds it. The match of a view with itself is empty, (0,).
    """
    units = [F.normalize(view, dim=-1) for view in teacher]
    found: list[list[Tensor]] = [[] for _ in teacher]
    for own, numbers in _computed_together(student, len(teacher)):
        regions = F.normalize(torch.cat([student[v] for v in numbers], 1), dim=-1)
        for i, view in enumerate(units):
            if i == own:
                found[i].append(student[i].new_empty(0, dtype=torch.long))
            else:
                found[i] += _most_similar(regions, view).chunk(len(numbers), 1)
    return found


def _computed_together(
    student: Sequence[Tensor], teachers: int
) -> Iterator[tuple[int | None, list[int]]]:
    """Yield the numbers of views that are computed together, (B, ...) each.

    The first ones, which the teacher has too, are alone, each with its number; of the others those
    of one shape follow one another.
    """
    for v in range(teachers):
        yield v, [v]
    others = range(teachers, len(student))
    for _, group in groupby(others, key=lambda v: student[v].shape):
        yield None, list(group)


@full_precision
def pair_losses(
    student: Sequence[Tensor],
    targets: Sequence[Tensor],
    temperature: float,
    matches: list[list[Tensor]] | None = None,
) -> Tensor:
    """Mean losses of T views' targets and V student views (T, V), zero for a view with itself.

    Scores (B, K) and targets (B, K), the first views being those of the targets; or regions
    (B, N, K) and (B, M, K), with ``matches`` as `match_views` returns them. Views that only the
    student has are computed together where their shapes are equal.
    """
    rows: list[list[Tensor]] = [[] for _ in targets]
    for own, numbers in _computed_together(student, len(targets)):
        scores = torch.stack([student[v] for v in numbers])
        log_shares = F.log_softmax(scores / temperature, dim=-1)  # (v, B, ..., K)
        for i, target in enumerate(targets):
            if i == own:
                rows[i].append(target.new_zeros(1))
                continue
            if matches is not None:
                target = pick_regions(target, torch.cat([matches[i][v] for v in numbers], 1))
                target = target.unflatten(1, (len(numbers), -1)).transpose(0, 1)  # (v, B, N, K)
            losses = -(target * log_shares).sum(-1)  # (v, B) or (v, B, N)
            rows[i].append(losses.flatten(1).mean(1))
    return torch.stack([torch.cat(row) for row in rows])


def pick_regions(regions: Tensor, index: Tensor) -> Tensor:
    """Gather regions (B, M, K) by index (B, N) -> (B, N, K)."""
    return regions.gather(1, index[..., None].expand(-1, -1, regions.shape[-1]))


def mean_of_pairs(pairs: Tensor) -> Tensor:
    """Mean of losses (teacher views, student views) without those on the diagonal, a scalar ()."""
    teachers, students = pairs.shape
    return pairs.sum() / (teachers * students - min(teachers, students))
