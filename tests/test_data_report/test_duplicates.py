"""Groups of equal and near images, against brute force."""

import numpy as np
import pytest

from mmssl.data_report.duplicates import bit_count, equal_groups, near_groups, near_pairs

RNG = np.random.default_rng(0)


def hashes(count, clusters=12, flips=5):
    """Random hashes around a few centres, so that many pairs are near."""
    centres = RNG.integers(0, 2**63, clusters, np.uint64)
    found = centres[RNG.integers(0, clusters, count)]
    for _ in range(flips):
        found = found ^ (np.uint64(1) << RNG.integers(0, 64, count).astype(np.uint64))
    return found


def test_bits():
    values = np.array([0, 1, 2**64 - 1, 0xFF00FF], np.uint64)
    assert bit_count(values).tolist() == [0, 1, 64, 16]


@pytest.mark.parametrize('distance', [0, 1, 4, 9])
def test_near_pairs_are_those_of_brute_force(distance):
    values = np.unique(hashes(300))
    differs = np.array([[(int(a) ^ int(b)).bit_count() for b in values] for a in values])
    expected = {(i, j) for i, j in np.argwhere(differs <= distance) if i < j}
    found = {
        (min(pair), max(pair))
        for a, b in near_pairs(values, distance)
        for pair in zip(a.tolist(), b.tolist(), strict=True)
    }
    assert found == expected
    assert len(expected) > 1000 or distance < 9


def test_equal_groups():
    values = np.array([5, 3, 5, 9, 3, 5, 1], np.uint64)
    groups = equal_groups(values, np.array([0, 1, 2, 3, 4, 6]))
    assert sorted(g.tolist() for g in groups) == [[0, 2], [1, 4]]


def test_groups_join_chains_and_leave_out_equal_files():
    looks = np.array([0b0, 0b1, 0b11, 0b1111_0000_1111 << 30, 0b1111_0000_1111 << 30], np.uint64)
    digests = np.array([1, 2, 3, 4, 4], np.uint64)
    places = np.arange(5)
    assert [g.tolist() for g in near_groups(looks, digests, places, 1)] == [[0, 1, 2]]
    assert near_groups(looks, digests, places, 0) == []
    other = np.array([1, 2, 3, 4, 5], np.uint64)
    found = near_groups(looks, other, places, 0)  # the same look of different files
    assert [g.tolist() for g in found] == [[3, 4]]


def test_pairs_are_confirmed():
    looks = np.array([0, 1, 3, 3], np.uint64)
    digests = np.arange(4).astype(np.uint64)
    asked = []

    def confirm(first, second):
        asked.extend(zip(first.tolist(), second.tolist(), strict=True))
        return first > 0

    groups = near_groups(looks, digests, np.arange(4), 1, confirm)
    assert [g.tolist() for g in groups] == [[1, 2, 3]]
    assert {(min(p), max(p)) for p in asked} == {(0, 1), (1, 2)}
