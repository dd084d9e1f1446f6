"""Scores of images and their intervals against SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score

from mmssl.evaluation import intervals
from mmssl.evaluation.image_scores import (
    MEAN,
    MEAN_PER_CLASS,
    of_hits,
    of_overlaps,
    of_values,
)
from mmssl.evaluation.probe import interval

RNG = np.random.default_rng(0)


def test_accuracies_are_those_of_scikit_learn():
    labels = RNG.integers(0, 5, 60)
    answers = np.where(RNG.random(60) < 0.6, labels, RNG.integers(0, 5, 60))
    hits = (answers == labels).astype(float)
    plain = of_hits(hits, labels, 7, MEAN).value()
    assert plain == pytest.approx(100 * accuracy_score(labels, answers))
    # two of seven classes have no image, and count in neither
    mean = of_hits(hits, labels, 7, MEAN_PER_CLASS).value()
    assert mean == pytest.approx(100 * balanced_accuracy_score(labels, answers))
    assert abs(mean - plain) > 0.1


def test_mean_iou_is_the_mean_of_scikit_learns_jaccard_scores():
    truth = RNG.integers(0, 4, (6, 50))
    found = np.where(RNG.random(truth.shape) < 0.5, truth, RNG.integers(0, 4, truth.shape))
    counts = np.zeros((6, 3, 6), int)
    for i in range(6):
        for c in range(6):
            right = (truth[i] == c) & (found[i] == c)
            counts[i, :, c] = right.sum(), (found[i] == c).sum(), (truth[i] == c).sum()
    expected = jaccard_score(truth.ravel(), found.ravel(), average='macro')
    assert of_overlaps(counts).value() == pytest.approx(100 * expected)


@pytest.mark.parametrize('kind', [MEAN, MEAN_PER_CLASS])
def test_resampled_figures_are_scipys(kind):
    labels = np.arange(40) % 4
    hits = (RNG.random(40) < 0.7).astype(float)
    scores = of_hits(hits, labels, 4, kind)

    def figure(rows):
        if kind == MEAN:
            return 100 * hits[rows].mean()
        return 100 * np.mean([hits[rows][labels[rows] == c].mean() for c in range(4)])

    expected = stats.bootstrap(
        (np.arange(40),), figure, vectorized=False, n_resamples=200, batch=intervals.BATCH,
        method='percentile', rng=np.random.default_rng(0),
    )  # fmt: skip
    found = intervals.resampled(scores, 200)
    assert np.allclose(found, expected.bootstrap_distribution)
    ends = intervals.over_images(found)
    assert ends == pytest.approx(tuple(expected.confidence_interval))


def test_the_difference_of_two_is_scipys_paired_bootstrap():
    a, b = RNG.random((2, 50))
    expected = stats.bootstrap(
        (a, b), lambda x, y, axis=-1: 100 * (x.mean(axis) - y.mean(axis)), paired=True,
        n_resamples=300, batch=intervals.BATCH, method='percentile', rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    ours = intervals.resampled(of_values(a), 300) - intervals.resampled(of_values(b), 300)
    assert intervals.over_images(ours) == pytest.approx(tuple(expected))


@pytest.mark.parametrize('hit', [0.0, 1.0])
def test_all_alike_has_the_interval_of_wilson(hit):
    scores = of_values(np.full(30, hit))
    found = intervals.of_scores([scores, scores], intervals.resampled(scores))
    assert found == pytest.approx(interval(100 * hit, 30))
    assert found.high - found.low > 5


def test_other_scores_have_that_of_their_resamples():
    scores = of_values(np.array([0.0, 1.0, 1.0]))
    figures = intervals.resampled(scores)
    assert intervals.of_scores([scores], figures) == intervals.over_images(figures)


def test_seeds_have_students_and_welchs_intervals():
    a, b = [70.0, 72.0, 71.5], [65.0, 69.0]
    expected = stats.t.interval(0.95, 2, np.mean(a), stats.sem(a))
    assert intervals.over_seeds(a) == pytest.approx(expected)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert intervals.difference_over_seeds(a, b) == pytest.approx((welch.low, welch.high))


def test_one_seed_has_no_interval_and_equal_seeds_one_without_width():
    assert intervals.over_seeds([70.0]) is None
    assert intervals.difference_over_seeds([70.0], [1.0, 2.0]) is None
    assert intervals.difference_over_seeds([3.0, 3.0], [1.0, 1.0]) == (2.0, 2.0)


@pytest.mark.parametrize(('ends', 'excludes'), [((1, 2), True), ((-2, -1), True), ((-1, 2), False)])
def test_an_interval_knows_whether_zero_is_outside(ends, excludes):
    assert intervals.Interval(*ends).excludes_zero is excludes
