"""Groups of equal and of similar images, found by hashes in memory that grows with the images."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
NEIGHBOURS = 2000  # in a sorted band: more images than these have one band in common by chance only
ONES = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)

Confirm = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def bit_count(values: NDArray[Any]) -> NDArray[Any]:
    """Return how many bits of each value (N,) uint64 are 1."""
    parts = np.ascontiguousarray(values).view(np.uint16).reshape(len(values), 4)
    found: NDArray[Any] = ONES[parts].sum(1, dtype=np.uint8)
    return found


def equal_groups(values: NDArray[Any], places: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the groups of two or more of ``places`` that have the same value (N,), ascending."""
    order = places[np.argsort(values[places], kind='stable')]
    begins = np.flatnonzero(np.diff(values[order])) + 1
    return [group for group in np.split(order, begins) if len(group) > 1]


def near_pairs(hashes: NDArray[Any], distance: int) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield places of pairs of different hashes (U,) uint64 that differ in at most so many bits.

    Hashes that differ in d bits share one of d + 1 bands of bits: pairs are looked for among
    those that share a band (pigeonhole). A pair may come several times.
    """
    edges = np.linspace(0, BITS, distance + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        mask = np.uint64((1 << (high - low)) - 1)
        band = (hashes >> np.uint64(low)) & mask
        order = np.argsort(band, kind='stable')
        band, sorted_hashes = band[order], hashes[order]
        for step in range(1, min(len(order), NEIGHBOURS)):
            same = np.flatnonzero(band[step:] == band[:-step])
            if not len(same):
                break
            differs = bit_count(sorted_hashes[same] ^ sorted_hashes[same + step])
            close = same[differs <= distance]
            yield order[close], order[close + step]


def near_groups(
    looks: NDArray[Any],
    digests: NDArray[Any],
    places: NDArray[Any],
    distance: int,
    confirm: Confirm | None = None,
) -> list[NDArray[Any]]:
    """Return groups of ``places`` whose looks (N,) are near, and whose files are not all equal.

    Pairs within ``distance`` bits are joined, and so are those of one image; ``confirm`` says of
    places (P,) and (P,) which pairs are taken. Groups are ascending.
    """
    values, inverse = np.unique(looks[places], return_inverse=True)
    first, second = [], []
    representative = np.zeros(len(values), np.int64)
    representative[inverse[::-1]] = places[::-1]  # the first image of each look
    for a, b in near_pairs(values, distance):
        if confirm is not None and len(a):
            taken = confirm(representative[a], representative[b])
            a, b = a[taken], b[taken]
        first.append(a)
        second.append(b)
    row = np.concatenate(first) if first else np.zeros(0, np.int64)
    column = np.concatenate(second) if second else np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(row), np.bool_), (row, column)), shape=(len(values),) * 2)
    _, component = connected_components(graph, directed=False)
    groups = equal_groups(component[inverse], np.arange(len(places)))
    found = [places[group] for group in groups]
    return [group for group in found if len(np.unique(digests[group])) > 1]
