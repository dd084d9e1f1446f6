"""Weighted nearest-neighbour classification."""

import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2**24  # similarities held at once


@torch.no_grad()
def knn(
    bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int
) -> Tensor:
    """Votes (Q, classes) of the k nearest bank rows, each exp(cosine / temperature).

    bank (N, C), labels (N,) and queries (Q, C) on one device; rows are normalised here
    (Wu et al. 2018, sec. 3.4; DINO ``eval_knn.py``). Any sizes: memory is bounded by chunks of
    both. A k above N is lowered to N with a warning. Raises ValueError for an empty bank or for
    features that are not finite.
    """
    if len(bank) == 0:
        raise ValueError('kNN needs at least one bank image')
    if k < 1 or temperature <= 0:
        raise ValueError(f'kNN needs k >= 1 and a temperature above 0, got {k} and {temperature}')
    if not (torch.isfinite(bank).all() and torch.isfinite(queries).all()):
        raise ValueError('kNN features are not finite: the checkpoint or the images are damaged')
    if k > len(bank):
        warnings.warn(f'kNN: k={k} lowered to the {len(bank)} images of the bank', stacklevel=2)
        k = len(bank)
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    rows = max(1, CHUNK // min(len(bank), CHUNK))
    votes = [
        _vote(*_nearest(bank, part, k), labels, temperature, classes)
        for part in queries.split(rows)
    ]
    return torch.cat(votes) if votes else queries.new_zeros((0, classes))


def _nearest(bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and bank indices, both (q, k), of the nearest rows, bank part by part."""
    best = queries.new_empty((len(queries), 0))
    index = torch.empty((len(queries), 0), dtype=torch.long, device=queries.device)
    for start in range(0, len(bank), CHUNK):
        cosines = queries @ bank[start : start + CHUNK].T
        top, at = cosines.topk(min(k, cosines.shape[1]), dim=1)
        best, index = torch.cat([best, top], 1), torch.cat([index, at + start], 1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        index = index.gather(1, order)
    return best, index


def _vote(
    cosines: Tensor, index: Tensor, labels: Tensor, temperature: float, classes: int
) -> Tensor:
    votes = cosines.new_zeros((len(cosines), classes), dtype=torch.float64)
    # in double precision: exp(1 / T) leaves single precision below T = 0.0113
    return votes.scatter_add_(1, labels[index], (cosines.double() / temperature).exp())


def accuracy(votes: Tensor, labels: Tensor, top: int = 1) -> float:
    """Percent of rows of votes (Q, classes) whose label is among the ``top`` highest."""
    top = min(top, votes.shape[1])
    hits = votes.topk(top, dim=1).indices == labels[:, None]
    return 100 * hits.any(1).double().mean().item()
