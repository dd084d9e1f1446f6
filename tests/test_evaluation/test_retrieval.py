"""Average precision of retrieval against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mmssl.evaluation import retrieval
from mmssl.evaluation.retrieval import average_precisions

from ..helpers.refusals import refuses


@pytest.fixture
def sets():
    torch.manual_seed(0)
    labels, truth = torch.randint(0, 4, (50,)), torch.randint(0, 4, (11,))
    centres = torch.randn(4, 8)
    gallery = centres[labels] + torch.randn(50, 8)
    queries = centres[truth] + torch.randn(11, 8)
    return gallery.double(), labels, queries.double(), truth


def by_scikit_learn(gallery, labels, queries, truth):
    unit = [torch.nn.functional.normalize(x, dim=1).numpy() for x in (gallery, queries)]
    scores = unit[1] @ unit[0].T
    return [
        average_precision_score(labels.numpy() == wanted, row)
        for row, wanted in zip(scores, truth.tolist(), strict=True)
    ]


def test_average_precision_is_scikit_learns(sets, monkeypatch):
    expected = by_scikit_learn(*sets)
    assert np.allclose(average_precisions(*sets), expected)
    monkeypatch.setattr(retrieval, 'CHUNK', 120)  # two queries at once
    assert np.allclose(average_precisions(*sets), expected)


def test_a_ranking_by_hand():
    gallery = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    query = torch.tensor([[2.0, 0.0]])
    labels, truth = torch.tensor([0, 1, 0, 1]), torch.tensor([0])
    # right at ranks 1 and 3
    assert average_precisions(gallery, labels, query, truth).item() == (1 + 2 / 3) / 2


def test_a_class_that_the_gallery_lacks_scores_nothing(sets):
    gallery, labels, queries, _ = sets
    found = average_precisions(gallery, labels, queries, torch.full((11,), 9))
    assert found.tolist() == [0.0] * 11


def test_features_that_are_not_finite_are_refused(sets):
    gallery, labels, queries, truth = sets
    gallery[3, 2] = float('nan')
    with refuses('features'):
        average_precisions(gallery, labels, queries, truth)
