"""Accuracy over all ranks."""

import pytest
import torch

from mmssl.core import dist
from mmssl.evaluation import Accuracy


def feed(metric, scores, labels):
    batch = dict(data_samples=dict(label=torch.tensor(labels)))
    metric.process(batch, [dict(pred_scores=torch.tensor(s)) for s in scores])


SCORES = [[0.5, 0.3, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4], [0.25, 0.3, 0.35, 0.1]]


def test_ranks_of_the_labels_are_counted():
    metric = Accuracy(topk=(1, 2, 3))
    feed(metric, SCORES[:2], [0, 1])
    feed(metric, SCORES[2:], [1])
    shares = {1: 1 / 3, 2: 2 / 3, 3: 1}
    assert metric.evaluate(3) == {
        f'accuracy/top{k}': pytest.approx(100 * share) for k, share in shares.items()
    }
    feed(metric, SCORES[:1], [3])
    assert metric.evaluate(1)['accuracy/top3'] == 0  # earlier images are forgotten


def test_scores_that_say_nothing_are_not_right():
    """Equal scores and scores that are not numbers: the label is not among the best."""
    metric = Accuracy(topk=(1,))
    feed(metric, [[0.25] * 4, [float('nan')] * 4, [0.5, 0.2, 0.2, 0.1]], [2, 2, 0])
    assert metric.evaluate(3)['accuracy/top1'] == pytest.approx(100 / 3)


def _uneven():
    metric = Accuracy(topk=(1,))
    if dist.rank() == 0:
        feed(metric, SCORES, [0, 3, 2])
    else:
        feed(metric, SCORES[:1], [1])
    return metric.evaluate(4)


def test_each_image_of_two_ranks_counts_once(two_ranks):
    assert two_ranks(_uneven) == [{'accuracy/top1': 75.0}] * 2
