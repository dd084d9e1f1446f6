"""Patch correspondence: matches, their ground truth, and the views they are computed on."""

import math
import random
from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmssl.analysis.correspondence import (
    centres,
    match,
    mean_score,
    mirror_score,
    mirrored,
    other_view,
    true_places,
)
from mmssl.analysis.correspondence_figures import GAP, best_pairs, curved_line, summary_region

from ..helpers.refusals import refuses


def regions(h: int, w: int, width: int = 24) -> torch.Tensor:
    return torch.randn(h * w, width, dtype=torch.float64)


def flipped(tokens: torch.Tensor, w: int) -> torch.Tensor:
    return tokens.unflatten(0, (-1, w)).flip(1).flatten(0, 1)


def test_a_mirrored_image_is_its_exact_mirror():
    one = regions(5, 7)
    score = mirror_score(one, 3 * flipped(one, 7), (5, 7), (32, 16))
    assert (score.accuracy, score.distance) == (1.0, 0.0)
    assert score.similarity == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize('count', [1, 10, 12, 40])
def test_against_loops(count):
    h, w, cell = 3, 4, (8.0, 16.0)
    one, two = regions(h, w), regions(h, w)
    two[:6] = flipped(one, w)[:6]  # some are right
    best = []
    for i in range(h * w):
        each = [float(torch.cosine_similarity(one[i], two[j], dim=0)) for j in range(h * w)]
        best.append((max(each), i, each.index(max(each))))
    best.sort(reverse=True)
    off = []
    for _, i, j in best[:count]:
        rows, columns = j // w - i // w, j % w - (w - 1 - i % w)
        off.append(math.hypot(columns * cell[0], rows * cell[1]))
    score = mirror_score(one, two, (h, w), cell, count)
    assert score.accuracy == pytest.approx(off.count(0.0) / len(off), abs=1e-12)
    assert score.distance == pytest.approx(sum(off) / len(off), rel=1e-6)
    assert score.similarity == pytest.approx(best[min(count, 11)][0], abs=1e-12)
    assert mean_score([score, score._replace(accuracy=0.0)]).accuracy == score.accuracy / 2


def test_true_places_by_hand():
    points = torch.tensor([[0.5, 0.5], [0.3, 0.8], [0.1, 0.5], [0.75, 0.5]]).double()
    found = true_places(points, (0.25, 0.5, 0.5, 0.5), flip=True)
    assert_close(found[:2], torch.tensor([[0.5, 0.0], [0.9, 0.6]]).double(), rtol=0, atol=1e-12)
    assert found[2:].isnan().all()


@pytest.mark.parametrize('seed', range(4))
def test_true_places_of_pixels(seed):
    """A image whose colours are its coordinates: the view shows where each point went."""
    side = 96
    ramp = torch.arange(side) * 2
    view = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)] * 2)[:3]
    shown, drawn = other_view(view.byte(), seed)
    rng = random.Random(seed)
    while drawn.jitter or drawn.gray:  # colours would hide the coordinates
        shown, drawn = other_view(view.byte(), rng.randrange(10**6))
    points = centres((6, 6), (side / 6, side / 6))
    found = true_places(points, drawn.box, drawn.flip)
    inside = ~found.isnan().any(1)
    assert 0.3 < inside.double().mean() < 0.75
    assert 0.35 < drawn.box[2] * drawn.box[3] / side**2 < 0.65
    at = (found[inside] * side).long()
    seen = shown[:2, at[:, 1], at[:, 0]].T.double() / 2
    assert (seen - points[inside]).abs().max() < 1.5


def test_the_mirrored_view_is_flipped_and_grey():
    view = torch.randint(0, 256, (1, 16, 16), dtype=torch.uint8).expand(3, 16, 16)
    shown = next(mirrored(view, s) for s in range(50) if mirrored(view, s).float().std() > 0)
    assert (shown[0] == shown[1]).all() and (shown[0] == shown[2]).all()
    order = torch.corrcoef(torch.stack([shown[0].flatten(), view[0].flip(1).flatten()]).double())
    assert order[0, 1] > 0.95
    assert (mirrored(view, 3) == mirrored(view, 3)).all()


def test_pairs_know_what_is_right():
    one = regions(4, 4)
    found = best_pairs(one, flipped(one, 4), (4, 4), ((0, 0, 1, 1), True), count=5)
    assert found.right == [True] * 5
    assert_close(found.two[:, 0], 1 - found.one[:, 0])
    wrong = best_pairs(one, flipped(one, 4), (4, 4), ((0, 0, 1, 1), False), count=16)
    columns = (wrong.one[:, 0] * 4).long()
    assert wrong.right == [c in (1, 2) for c in columns.tolist()]  # those move by one cell only
    assert best_pairs(one, one, (4, 4), None, count=3).right == [None] * 3
    assert_close(summary_region(one[6], one, (4, 4)).tolist(), [0.625, 0.375])


@pytest.mark.parametrize('row', [0.05, 0.5, 0.95])
def test_lines_of_one_row_do_not_cover_each_other(row):
    places = [torch.tensor([column, row]).double() for column in (0.1, 0.5, 0.9)]
    drawn = [curved_line(a, b) for a in places for b in places]
    for (x, y), (a, b) in zip(drawn, product(places, places), strict=True):
        assert [x[0], y[0], x[-1], y[-1]] == [*a, b[0] + 1 + GAP, b[1]]
        assert y.min() >= 0 and y.max() <= 1
    for (x, y), (u, v) in combinations(drawn, 2):
        at = np.linspace(max(x[0], u[0]) + 0.01, min(x[-1], u[-1]) - 0.01, 50)
        apart = np.abs(np.interp(at, x, y) - np.interp(at, u, v))
        assert np.median(apart) > 0.003  # two pixels of a image


def test_damaged_features_are_refused():
    broken = regions(2, 2)
    broken[1, 3] = float('nan')
    with refuses('features of regions'):
        match(regions(2, 2), broken)
