"""Segmentation by frozen patches: labels of patches, votes, the linear layer, the figure."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from mmssl.evaluation import segmentation
from mmssl.evaluation.image_scores import of_overlaps
from mmssl.evaluation.probe import Recipe
from mmssl.evaluation.segmentation import IGNORED, Patches

from ..helpers.refusals import refuses


def test_shares_of_a_patch_are_counted_pixel_by_pixel():
    rng = np.random.default_rng(0)
    mask = rng.choice([0, 1, 2, IGNORED], (7, 10)).astype(np.uint8)
    mask[:3, :3] = IGNORED  # a patch without a label
    found = segmentation.patch_shares(mask, (2, 3), 3)
    expected = np.zeros((6, 3))
    for y in range(7):
        for x in range(10):
            if mask[y, x] != IGNORED:
                expected[(y * 2 // 7) * 3 + x * 3 // 10, mask[y, x]] += 1
    expected /= np.maximum(expected.sum(1, keepdims=True), 1)
    assert np.allclose(found, expected)
    assert sorted({round(float(s), 5) for s in found.sum(1)}) in ([1.0], [0.0, 1.0])


def test_patches_without_a_label_are_not_drawn():
    shares = torch.tensor([[1.0, 0], [0, 0], [0.5, 0.5], [0, 1.0]])
    rows = segmentation.sample_patches(torch.zeros(4, 2), shares, 3, seed=0)
    assert sorted(rows.tolist()) == [0, 2, 3]
    assert len(segmentation.sample_patches(torch.zeros(4, 2), shares, 2, seed=0)) == 2


def test_votes_of_patches_are_a_softmax_of_cosines():
    torch.manual_seed(0)
    bank = Patches(torch.randn(12, 5), torch.rand(12, 3).softmax(1), torch.arange(12))
    queries = torch.randn(4, 5)
    found = segmentation.knn_shares(bank, queries, k=5)
    for query, row in zip(queries, found, strict=True):
        cosines = F.cosine_similarity(query[None], bank.features)
        near = cosines.argsort(descending=True)[:5]
        weights = np.exp(cosines[near].double().numpy() / 0.02)
        expected = (weights[:, None] * bank.shares[near].numpy()).sum(0) / weights.sum()
        assert np.allclose(row, expected, atol=1e-5)
    assert np.allclose(found.sum(1), 1)


def test_the_linear_layer_is_scikit_learns_optimum():
    torch.manual_seed(0)
    labels = torch.arange(300) % 3
    features = torch.randn(300, 4).double() + F.one_hot(labels, 4) * torch.tensor([1.5, 3, 2, 0])
    bank = Patches(features, F.one_hot(labels, 3).double(), torch.arange(300) // 30)
    recipe = Recipe(rates=(0.3,), decays=(0.01,), epochs=400, batch=300, held_out=0.2)
    found = segmentation.train_linear(bank, recipe)
    x = found.scale(features)
    model = LogisticRegression(C=1 / (0.01 * 300), tol=1e-8, max_iter=5000).fit(x, labels)
    ours = found.layer.weights[0] - found.layer.weights[0].mean(0)
    assert np.allclose(ours, model.coef_ - model.coef_.mean(0), atol=1e-3)
    assert (found.scores(features).argmax(1) == torch.from_numpy(model.predict(x))).all()


def test_what_chooses_is_other_images():
    images = torch.arange(40) // 4
    bank = Patches(torch.zeros(40, 2), torch.ones(40, 1), images)
    train, held = segmentation._held_out_images(bank, Recipe(held_out=0.2), 0)
    assert len(images[held].unique()) == 2
    assert not set(images[held].tolist()) & set(images[train].tolist())
    assert len(train) + len(held) == 40
    one = Patches(torch.zeros(4, 2), torch.ones(4, 1), torch.zeros(4).long())
    with refuses('probe.held_out', 0.2):
        segmentation._held_out_images(one, Recipe(held_out=0.2), 0)


def test_right_patches_give_a_full_mean_iou_and_ignored_pixels_none():
    mask = np.zeros((8, 8), np.int64)
    mask[:, 4:] = 1
    mask[0] = IGNORED
    scores = torch.tensor([[9.0, 0], [0, 9.0], [9.0, 0], [0, 9.0]])  # 2 x 2 patches
    counts = segmentation.pixel_counts(scores, (2, 2), mask)
    assert counts.tolist() == [[28, 28]] * 3
    assert of_overlaps(counts[None]).value() == 100.0
    wrong = segmentation.pixel_counts(scores.flip(1), (2, 2), mask)
    assert of_overlaps(wrong[None]).value() == 0.0


@pytest.mark.parametrize('size', [(6, 9), (4, 4)])
def test_masks_are_enlarged_as_logits_not_as_classes(size):
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(
        scores.T.reshape(1, 3, 2, 2), size, mode='bilinear', align_corners=False
    ).argmax(1)[0]
    assert torch.equal(segmentation.predicted_mask(scores, (2, 2), size), expected)
