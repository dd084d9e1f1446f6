"""Normalisation of uint8 views on the device."""

import numpy as np
import torch

from mmssl.models.preprocessor import ViewPreprocessor


def test_bytes_are_normalised_as_totensor_and_normalize_do():
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    ours = ViewPreprocessor()(dict(inputs=images))['inputs']
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (images.permute(0, 2, 3, 1).double().numpy() / 255 - mean) / std
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1), expected, rtol=0, atol=1e-6)
    assert ours.dtype == torch.float32


def test_views_stay_a_list_and_floats_stay_as_they_are():
    process = ViewPreprocessor(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    views = [torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), torch.ones(1, 3, 2, 2)]
    samples = dict(index=torch.tensor([3]))
    done = process(dict(inputs=views, data_samples=samples))
    assert [view.unique().tolist() for view in done['inputs']] == [[2.0], [1.0]]
    assert done['data_samples']['index'].tolist() == [3]


def test_the_constants_are_not_stored():
    assert ViewPreprocessor().state_dict() == {}
