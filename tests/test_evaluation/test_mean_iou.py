"""Mean IoU against a confusion matrix counted pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmssl.core import dist
from mmssl.evaluation import MeanIoU
from mmssl.evaluation.metrics.mean_iou import mean_iou, overlaps

from ..helpers.oracles import by_hand


def masks(seed, classes):
    rng = np.random.default_rng(seed)
    for _ in range(int(rng.integers(1, 4))):
        shape = tuple(rng.integers(1, 9, 2))
        truth = rng.integers(0, rng.integers(1, classes + 1), shape)  # some classes nowhere
        found = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, classes, shape))
        truth = np.where(rng.random(shape) < 0.2, 1000, truth)
        yield torch.from_numpy(found), torch.from_numpy(truth)


@given(seed=st.integers(0, 10**6), classes=st.integers(1, 6))
def test_it_is_the_confusion_matrix(seed, classes):
    metric, pairs = MeanIoU(), list(masks(seed, classes))
    metric.dataset_meta = dict(classes=tuple(map(str, range(classes))))
    for found, truth in pairs:
        batch = dict(data_samples=dict(label=truth[None]))
        metric.process(batch, [dict(pred_mask=found)])
    result = metric.evaluate(len(pairs))
    assert result == {'segmentation/miou': pytest.approx(by_hand(pairs, classes), abs=1e-9)}
    assert metric.results == []


def _share():
    metric, pairs = MeanIoU(), list(masks(5, 4))
    metric.dataset_meta = dict(classes=('other', 'a', 'b', 'c'))
    for found, truth in pairs[: 1 if dist.rank() else None]:  # uneven shares
        metric.process(dict(data_samples=dict(label=truth[None])), [dict(pred_mask=found)])
    return metric.evaluate(0)


def test_ranks_join_their_counts(two_ranks):
    pairs = list(masks(5, 4))
    assert len(pairs) > 1
    expected = pytest.approx(by_hand([*pairs, pairs[0]], 4), abs=1e-9)
    assert two_ranks(_share) == [{'segmentation/miou': expected}] * 2


def test_other_counts_and_a_class_that_is_nowhere_counts_zero():
    truth = torch.tensor([[0, 0, 1, 1000]])
    counts = overlaps(torch.tensor([[0, 1, 1, 2]]), truth, 3, 1000)
    assert counts.tolist() == [[1, 1, 0], [1, 2, 0], [2, 1, 0]]
    assert mean_iou(counts) == pytest.approx(100 * (1 / 2 + 1 / 2 + 0) / 3)


def test_an_image_shown_in_place_of_another_does_not_count():
    metric, ones = MeanIoU(), torch.ones(2, 2, 2, dtype=torch.int64)
    metric.dataset_meta = dict(classes=('other', 'a'))
    samples = dict(label=ones, unreadable=['', 'b.JPEG: empty'])
    metric.process(dict(data_samples=samples), [dict(pred_mask=1 - ones[0])] * 2)
    assert metric.results[0].tolist() == [[0, 0], [4, 0], [0, 4]]
    assert len(metric.results) == 1
