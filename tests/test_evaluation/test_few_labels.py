"""Draws of few labelled images, and the classifier that learns from them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmssl.evaluation.few_labels import draw, few_label_hits, smallest_class

LABELS = torch.tensor([0] * 20 + [1] * 9 + [3] * 12)


def test_a_draw_has_so_many_of_each_class_and_each_draw_is_another():
    draws = [draw(LABELS, 4, number) for number in range(5)]
    for rows in draws:
        assert LABELS[rows].bincount().tolist() == [4, 4, 0, 4]
        assert len(rows.unique()) == 12
    assert len({tuple(sorted(rows.tolist())) for rows in draws}) == 5
    assert draw(LABELS, 4, 2).tolist() == draws[2].tolist()


def test_more_images_contain_the_fewer():
    small, large = (set(draw(LABELS, size, 0).tolist()) for size in (2, 8))
    assert small < large


def test_the_smallest_class_is_one_that_has_images():
    assert smallest_class(LABELS) == 9


def test_answers_are_those_of_logistic_regression_on_the_drawn_images():
    torch.manual_seed(0)
    bank = torch.randn(41, 6) + 2 * torch.nn.functional.one_hot(LABELS, 6)
    truth = LABELS[::3]
    queries = torch.randn(len(truth), 6) + 2 * torch.nn.functional.one_hot(truth, 6)
    hits = few_label_hits(bank, LABELS, queries, truth, 2, draws=3)
    scaler = StandardScaler().fit(bank.double())
    x, asked = (scaler.transform(part.double()) / np.sqrt(6) for part in (bank, queries))
    for number, found in enumerate(hits):
        rows = draw(LABELS, 2, number)
        model = LogisticRegression(max_iter=1000).fit(x[rows], LABELS[rows])
        expected = torch.from_numpy(model.predict(asked)) == truth
        assert found.tolist() == expected.tolist()
    assert 0 < hits.double().mean() < 1


@pytest.mark.parametrize('constant', [0.0, 5.0])
def test_a_constant_feature_does_no_harm(constant):
    bank = torch.eye(4).repeat(3, 1)
    labels = torch.arange(4).repeat(3)
    wide = torch.cat([bank, torch.full((12, 1), constant)], 1)
    assert few_label_hits(wide, labels, wide, labels, 1, draws=1).all()
