"""The cached probe: against scikit-learn, torch's own optimizer, and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from mmssl.evaluation import probe
from mmssl.evaluation.probe import Layers, Recipe, Scale

from ..helpers.refusals import refuses


def clusters(n=240, width=6, classes=4, seed=0):
    """Return overlapping Gaussian clouds: features (n, width) and labels (n,)."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, width, generator=draw, dtype=torch.double)
    x = centres[labels] + torch.randn(n, width, generator=draw, dtype=torch.double)
    return x, labels


def test_the_optimum_is_that_of_scikit_learn():
    """Whole batches go to the minimum of the same objective; decay = 1 / (C n)."""
    x, labels = clusters()
    x = Scale.of(x)(x)
    decays = (1e-2, 1e-1)
    recipe = Recipe(epochs=3000, batch=len(x))
    layers = probe.train(x, labels, 4, [(0.5, d) for d in decays], recipe)
    for g, decay in enumerate(decays):
        wanted = LogisticRegression(C=1 / (decay * len(x)), tol=1e-10, max_iter=5000)
        wanted.fit(x.numpy(), labels.numpy())
        np.testing.assert_allclose(layers.weights[g].numpy(), wanted.coef_, atol=1e-6)
        bias = layers.biases[g] - layers.biases[g].mean()  # a common shift changes nothing
        np.testing.assert_allclose(
            bias.numpy(), wanted.intercept_ - wanted.intercept_.mean(), atol=1e-6
        )


def test_each_of_the_grid_is_trained_as_if_alone_by_torch():
    x, labels = clusters(50)
    grid, recipe = [(0.1, 0.0), (0.3, 0.01), (2.0, 0.1)], Recipe(epochs=3, batch=16)
    layers = probe.train(x, labels, 4, grid, recipe, seed=3)
    for g, (rate, decay) in enumerate(grid):
        weight, bias = (torch.zeros(s, dtype=torch.double, requires_grad=True) for s in ((4, 6), 4))
        groups = [dict(params=[weight], weight_decay=decay), dict(params=[bias], weight_decay=0)]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
        order = torch.Generator().manual_seed(3)
        for _ in range(3):
            for rows in torch.randperm(50, generator=order).split(16):  # the last of 2 counts too
                optimizer.zero_grad()
                F.cross_entropy(F.linear(x[rows], weight, bias), labels[rows]).backward()
                optimizer.step()
                schedule.step()
        torch.testing.assert_close(layers.weights[g], weight.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(layers.biases[g], bias.detach(), rtol=1e-10, atol=1e-12)


def test_scores_are_those_of_each_layer(monkeypatch):
    monkeypatch.setattr(probe, 'ROWS', 7)  # in parts, the last of them smaller
    x, labels = clusters(30)
    layers = Layers(torch.randn(3, 4, 6).double(), torch.randn(3, 4).double())
    percent, loss = probe.score(layers, x, labels)
    for g in range(3):
        logits = F.linear(x, layers.weights[g], layers.biases[g])
        torch.testing.assert_close(loss[g], F.cross_entropy(logits, labels))
        hits = sum(
            int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)
        )
        assert percent[g] == pytest.approx(100 * hits / 30)


def test_features_are_scaled_and_constant_ones_are_zero():
    x = torch.stack([torch.arange(8.0), torch.full((8,), 3.0), 1e-3 * torch.arange(8.0)], 1)
    scaled = Scale.of(x)(x)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.var(0, correction=0), torch.tensor([1.0, 0.0, 1.0]))


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 3),
)
def test_the_same_share_of_each_class_is_held_out(counts, share, seed):
    assume(sum(counts))
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    labels = labels[torch.randperm(len(labels))].long()
    wanted = [round(share * n) for n in counts]
    if not sum(wanted) or wanted == counts:
        with refuses('probe.held_out', share):
            probe.split(labels, share, seed)
        return
    kept, held = probe.split(labels, share, seed)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(labels)))
    found = labels[held].bincount(minlength=len(counts)).tolist()
    assert found == wanted
    assert torch.equal(held, probe.split(labels, share, seed)[1])


def test_another_seed_holds_out_other_images():
    labels = torch.arange(100) % 2
    assert not torch.equal(probe.split(labels, 0.2, 0)[1], probe.split(labels, 0.2, 1)[1])


@pytest.mark.parametrize(('hits', 'count'), [(0, 10), (7, 10), (1503, 2000), (50, 50)])
def test_the_interval_is_scipys(hits, count):
    wanted = binomtest(hits, count).proportion_ci(0.95, method='wilson')
    found = probe.interval(100 * hits / count, count)
    assert found == pytest.approx((100 * wanted.low, 100 * wanted.high), abs=1e-9)
