"""EsViT's measure of correspondence, as its analysis script recorded it."""

from collections.abc import Callable
from types import SimpleNamespace

import torch

from mmssl.analysis.correspondence import mean_score, mirror_score


def test_of_recorded_features(golden: Callable[[str], SimpleNamespace]) -> None:
    case = golden('esvit_correspondence_a')
    one, two = case.batch['features_1'], case.batch['features_2']
    assert len(one) == case.case['n_images'] == 8
    ours = [mirror_score(a, b, (7, 7), (32.0, 32.0)) for a, b in zip(one, two, strict=True)]
    for found, expected in ((ours, 'per_image'), (mean_score(ours), 'mean')):
        error = torch.tensor(found, dtype=torch.float64) - case.expect[expected].double()
        assert float(error.abs().max()) <= 1e-9
