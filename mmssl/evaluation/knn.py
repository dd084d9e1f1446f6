"""Weighted k-nearest-neighbour classification, in chunks of bounded memory.

``val_cfg.temperature`` of a config sets the temperature (``test_cfg`` in an evaluation alone; the
default is TEMPERATURE of knn_loop.py), ``val_cfg.k`` the numbers of neighbours. No config key sets
CHUNK, the number of pairs whose similarities are computed at once.
"""

import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..core import UserError
from .sanity_checks import refuse_non_finite

CHUNK = 2**23  # similarities held at once
ROWS = 1024  # queries of a product: fewer read the whole bank too often, more win nothing


def knn(
    bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int
) -> Tensor:
    """Votes (Q, classes) of the k nearest bank rows, each exp(cosine / temperature).

    bank (N, C), labels (N,) and queries (Q, C) on one device (Wu et al. 2018, sec. 3.4; DINO
    ``eval_knn.py``). Raises UserError and ValueError, and warns, as `by_k` does.
    """
    (votes,) = by_k(bank, labels, queries, [k], temperature, classes)
    return votes


def by_k(
    bank: Tensor,
    labels: Tensor,
    queries: Tensor,
    ks: Sequence[int],
    temperature: float,
    classes: int,
) -> Iterator[Tensor]:
    """Yield the votes (Q, classes) of `knn` for each k, all from one search.

    bank (N, C), labels (N,), queries (Q, C). Raises UserError, before searching, as
    `check_numbers` does, and UserError and ValueError as `nearest` does.
    """
    check_numbers(ks, temperature)
    cosines, index = nearest(bank, queries, max(ks))
    for k in ks:
        yield _vote(cosines[:, :k], index[:, :k], labels, temperature, classes)


def check_numbers(ks: Sequence[int], temperature: float) -> None:
    """Check the settings of a vote.

    Raises UserError for no k, a k that is no whole number of at least 1, and a temperature that
    is not above 0.
    """
    if not isinstance(ks, (list, tuple)) or not ks or any(type(k) is not int or k < 1 for k in ks):
        raise UserError(
            f'kNN with k={ks!r}: give whole numbers of neighbours, each at least 1',
            key='k',
            value=ks,
        )
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not (0 < temperature < math.inf)
    ):
        raise UserError(
            f'kNN with temperature={temperature!r}: must be a number above 0',
            key='temperature',
            value=temperature,
        )


@torch.no_grad()
def nearest(bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines, largest first, and bank rows of the k nearest neighbours of queries, both (Q, k).

    bank (N, C), queries (Q, C); rows are normalised here, part by part. `CHUNK` bounds the memory
    beyond the result, for any sizes. A k above N is lowered to N with a warning. Raises
    ValueError when the bank is empty, UserError when a feature is not finite.
    """
    if len(bank) == 0:
        raise ValueError('kNN needs at least one bank image')
    if k > len(bank):
        warnings.warn(f'kNN: k={k} lowered to the {len(bank)} images of the bank', stacklevel=2)
        k = len(bank)
    rows = max(1, min(len(queries), ROWS, CHUNK))
    parts = unit_rows(queries).split(rows)
    # of each part: cosines and rows of the best so far
    found = [(q.new_empty((len(q), 0)), q.new_empty((len(q), 0), dtype=torch.long)) for q in parts]
    for start in range(0, len(bank), CHUNK // rows):
        columns = unit_rows(bank[start : start + CHUNK // rows]).T
        for i, part in enumerate(parts):
            found[i] = _merged(*found[i], part @ columns, start, k)
    cosines, index = zip(*found, strict=True)
    return torch.cat(cosines), torch.cat(index)


def unit_rows(rows: Tensor) -> Tensor:
    """Normalise rows to length 1: (N, C) -> (N, C). Raises UserError when one is not finite."""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    # one pass less than asking every number: a sum of squares may overflow, so ask again
    if not torch.isfinite(lengths).all():
        refuse_non_finite(rows, 'the kNN features', 'features')
    found: Tensor = rows / lengths.clamp_min(1e-12)
    return found


def _merged(
    best: Tensor, index: Tensor, cosines: Tensor, start: int, k: int
) -> tuple[Tensor, Tensor]:
    """Return the k best of ``best`` (q, k') and of cosines (q, n) to rows from ``start`` on."""
    top, at = cosines.topk(min(k, cosines.shape[1]), dim=1)
    best = torch.cat([best, top], 1)
    index = torch.cat([index, at + start], 1)
    best, order = best.topk(min(k, best.shape[1]), dim=1)
    return best, index.gather(1, order)


@torch.no_grad()
def _vote(
    cosines: Tensor, index: Tensor, labels: Tensor, temperature: float, classes: int
) -> Tensor:
    """Votes (Q, classes) of neighbours with cosines and rows (Q, k) of labels (N,)."""
    votes = cosines.new_zeros((len(cosines), classes), dtype=torch.float64)
    # in double precision: exp(1 / T) leaves single precision below T = 0.0113
    return votes.scatter_add_(1, labels[index], (cosines.double() / temperature).exp())


def accuracy(votes: Tensor, labels: Tensor, top: int = 1) -> float:
    """Top-k accuracy in percent: votes (Q, classes), labels (Q,) -> float; k is ``top``."""
    top = min(top, votes.shape[1])
    hits = votes.topk(top, dim=1).indices == labels[:, None]
    return 100 * hits.any(1).double().mean().item()
