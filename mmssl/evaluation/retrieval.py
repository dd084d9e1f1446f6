"""Retrieval of images of the same class: average precision of each query over a gallery."""

import torch
from torch import Tensor

from .knn import unit_rows

CHUNK = 2**24  # similarities that are sorted at once


@torch.no_grad()
def average_precisions(gallery: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> Tensor:
    """Return the average precision (Q,), in 0..1, of ranking the whole gallery by cosine.

    gallery (N, C), labels (N,), queries (Q, C), truth (Q,). Right are the images of the query's
    class; the precision is taken at the rank of each and averaged (Manning et al. 2008, section
    8.4), without interpolation. Equal cosines keep the order of the gallery. A query whose class
    the gallery lacks scores 0. Raises UserError when a feature is not finite.
    """
    columns = unit_rows(gallery).T
    ranks = torch.arange(1, len(gallery) + 1, device=gallery.device, dtype=torch.double)
    found = []
    step = max(1, CHUNK // max(len(gallery), 1))
    for rows, wanted in zip(queries.split(step), truth.split(step), strict=True):
        order = (unit_rows(rows) @ columns).argsort(dim=1, descending=True, stable=True)
        right = (labels[order] == wanted[:, None]).double()  # (q, N)
        precision = right.cumsum(1) / ranks
        found.append((precision * right).sum(1) / right.sum(1).clamp_min(1))
    return torch.cat(found)
