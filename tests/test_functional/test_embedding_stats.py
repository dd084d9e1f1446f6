"""Health numbers against closed forms."""

import math

import pytest
import torch

from mmssl.functional import embedding_stats


def test_evenly_used_directions_spread_by_one_over_root_d():
    for dim in (2, 7, 32):
        axes = torch.cat([torch.eye(dim), -torch.eye(dim)])
        lengths = torch.linspace(0.1, 9, 2 * dim)[:, None]  # lengths do not matter
        assert embedding_stats.embedding_std(axes * lengths) == pytest.approx(dim**-0.5, rel=1e-6)


def test_random_directions_spread_nearly_so():
    x = torch.randn(20_000, 16)
    assert embedding_stats.embedding_std(x) == pytest.approx(16**-0.5, rel=0.01)


def test_equal_rows_do_not_spread():
    row = torch.randn(1, 8)
    assert embedding_stats.embedding_std(row * torch.linspace(1, 5, 10)[:, None]) == pytest.approx(
        0, abs=1e-6
    )
    # two opposite clusters: every dimension deviates by its share of the unit row
    unit = torch.nn.functional.normalize(row, dim=1)
    expected = unit.abs().mean().item()
    assert embedding_stats.embedding_std(torch.cat([row, -row])) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize('rank', [1, 3, 8])
def test_rank_me_of_equal_singular_values_is_their_number(rank):
    rows = torch.linalg.qr(torch.randn(12, rank)).Q.T  # orthonormal (rank, 12)
    assert embedding_stats.rankme(5 * rows) == pytest.approx(rank, rel=1e-4)


def test_rank_me_of_one_direction_is_one():
    x = torch.randn(30, 1) @ torch.randn(1, 16)
    assert embedding_stats.rankme(x) == pytest.approx(1, rel=1e-4)


def test_rank_me_is_the_exponential_of_an_entropy():
    values = [4.0, 2.0, 1.0, 1.0]
    q, r = torch.linalg.qr(torch.randn(9, 4)).Q, torch.linalg.qr(torch.randn(6, 4)).Q
    x = q @ torch.diag(torch.tensor(values)) @ r.T
    shares = [v / 8 for v in values]
    expected = math.exp(-sum(s * math.log(s) for s in shares))
    assert embedding_stats.rankme(x) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_what_is_not_finite_has_no_rank(bad):
    x = torch.randn(4, 3)
    x[1, 2] = bad
    assert math.isnan(embedding_stats.rankme(x))


def test_nothing_at_all_has_a_finite_rank():
    assert math.isfinite(embedding_stats.rankme(torch.zeros(4, 3)))


def test_agreement_is_the_mean_cosine():
    a = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    b = torch.tensor([[5.0, 0.0], [0.0, 1.0], [0.0, -2.0]])
    assert embedding_stats.teacher_cosine(a, b) == pytest.approx(0.0, abs=1e-7)
    assert embedding_stats.teacher_cosine(a, 2 * a) == pytest.approx(1.0, abs=1e-6)
    assert embedding_stats.teacher_cosine(a[:1], torch.tensor([[1.0, 1.0]])) == pytest.approx(
        0.5**0.5, rel=1e-6
    )
