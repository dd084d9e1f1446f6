"""Contrastive losses: InfoNCE with a queue of negatives or with the keys of all ranks."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core import dist
from ..core.precision import full_precision


def unit(x: Tensor) -> Tensor:
    """Normalise rows to length 1: (B, D) -> (B, D)."""
    return F.normalize(x, dim=1)


def logits(q: Tensor, keys: Tensor, temperature: float, negatives: Tensor | None = None) -> Tensor:
    """Cosine of each query with its candidates, divided by the temperature.

    q (B, D) and keys (M, D) are normalised here; negatives (D, K) are unit columns already.
    Returns (B, M), or with negatives (B, 1 + K), the query's own key first.
    """
    q = unit(q)
    keys = unit(keys)
    if negatives is None:
        return q @ keys.T / temperature  # (B, M)
    own = (q * keys).sum(1, keepdim=True)  # (B, 1)
    return torch.cat([own, q @ negatives], dim=1) / temperature  # (B, 1 + K)


@full_precision
def info_nce(
    q: Tensor, keys: Tensor, temperature: float, negatives: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of classifying each query's own key among all keys (MoCo, eq. 1).

    q, keys (B, D), not normalised. Negatives (D, K) of a queue; without them the keys of all
    ranks in rank order are the candidates (MoCo v3, Alg. 1: ``contrastive_loss`` in
    ``moco/builder.py``). No gradient reaches the keys. A scalar.
    """
    if negatives is None:
        labels = torch.arange(len(q), device=q.device) + len(q) * dist.rank()
        scores = logits(q, dist.gather(keys), temperature)
    else:
        labels = torch.zeros(len(q), dtype=torch.long, device=q.device)
        scores = logits(q, keys.detach(), temperature, negatives)
    return F.cross_entropy(scores, labels)
