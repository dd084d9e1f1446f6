"""Outliers among features, and near pairs that features confirm."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmssl.data_report import features
from mmssl.data_report.features import ALIKE, Alike, K, outliers


@pytest.fixture
def rows():
    """Sixty unit features in two tight clusters, and one far from both at 17."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(8)[[0, 3]].repeat_interleave(30, 0)
    found = centres + 0.05 * torch.randn(60, 8, generator=generator)
    found = torch.cat([found[:17], -torch.eye(8)[5:6], found[17:]])
    return F.normalize(found, dim=1)


@pytest.mark.parametrize('bank', [1000, 20])
def test_scores_are_those_of_brute_force(rows, bank, monkeypatch):
    monkeypatch.setattr(features, 'BANK', bank)
    indices = torch.arange(100, 161)
    found = outliers(rows, indices)
    assert found[0][0] == 117
    step = max(1, 61 // bank)
    cosines = (rows @ rows[::step].T).double()
    for i in range(0, 61, step):
        cosines[i, i // step] = -9
    expected = 1 - cosines.topk(K).values.mean(1)
    assert dict(found)[117] == pytest.approx(float(expected[17]), abs=1e-5)
    assert all(score > expected.median() for _, score in found)
    assert len(found) < 8


def test_few_images_have_no_outliers(rows):
    assert outliers(rows[:6], torch.arange(6)) == []


def test_pairs_are_alike_by_their_cosine(rows):
    indices = torch.arange(100, 161)
    alike = Alike(rows, indices)
    first, second = np.array([100, 100, 100, 160]), np.array([103, 117, 160, 7])
    expected = [float(rows[0] @ rows[i]) >= ALIKE for i in (3, 17, 60)]
    assert alike(first, second).tolist() == [*expected, False] == [True, False, False, False]
