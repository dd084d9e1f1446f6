"""Normalisation of uint8 views on the device."""

import math

import numpy as np
import pytest
import timm
import torch

from mmssl.models.preprocessor import ViewPreprocessor
from mmssl.registry import MODELS

from ..helpers.refusals import refuses


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


WRONG = [
    ((123.675, 116.28, 103.53), 'divide by 255'),
    ((124, 116, 104), 'divide by 255'),
    ((0.4, 0.4, math.inf), 'finite'),
    ((), 'for each channel'),
    (0.5, 'for each channel'),
    (('0.5', 0.5, 0.5), 'give numbers'),
    ((float('nan'), 0.5, 0.5), 'finite'),
]


@pytest.mark.parametrize(('values', 'advice'), WRONG)
def test_numbers_that_are_no_shares_are_refused(values, advice):
    with refuses('model.data_preprocessor.mean', values) as caught:
        ViewPreprocessor(mean=values)
    assert advice in str(caught.value)


def test_a_spread_is_above_zero():
    with refuses('model.data_preprocessor.std', (0, 0.2, 0.2)):
        ViewPreprocessor(std=(0, 0.2, 0.2))
    # whole numbers are numbers
    assert ViewPreprocessor(mean=(0, 0, 0), std=(1, 1, 1)).std.flatten().tolist() == [1.0] * 3


AUGREG, DINO = 'vit_tiny_patch16_224', 'vit_small_patch16_224.dino'
SMALL = dict(embed_dim=12, depth=1, num_heads=1)


def encoder(name, **options):
    backbone = dict(type='TimmBackbone', name=name, args=SMALL)
    return MODELS.build(dict(type='Encoder', backbone=backbone, **options)).data_preprocessor


def test_timm_states_its_normalisation(monkeypatch):
    lines = []
    monkeypatch.setattr('mmssl.models.preprocessor.print_log', lambda line, **_: lines.append(line))
    for name in (AUGREG, DINO, 'vit_base_patch16_clip_224.openai'):
        known, ours = timm.get_pretrained_cfg(name), encoder(name)
        assert ours.mean.flatten().tolist() == pytest.approx(known.mean, abs=1e-7)
        assert ours.std.flatten().tolist() == pytest.approx(known.std, abs=1e-7)
    # ImageNet's are what everyone expects
    assert len(lines) == 2 and 'mean=(0.5, 0.5, 0.5)' in lines[0]


def test_what_a_config_gives_stays():
    ours = encoder(AUGREG, data_preprocessor=dict(type='ViewPreprocessor', std=(0.25, 0.25, 0.25)))
    assert ours.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert ours.std.flatten().tolist() == [0.25] * 3


def test_classifiers_and_methods_take_it_too():
    backbone = dict(type='TimmBackbone', name=AUGREG, args=SMALL)
    head = dict(type='LinearHead', num_classes=2)
    neck = dict(type='MLP', dims=(12, 8, 4))
    for model in (
        dict(type='Classifier', backbone=backbone, head=head),
        dict(
            type='MoCo',
            backbone=backbone,
            neck=neck,
            momentum=dict(start=0.9, shape='constant'),
            head=dict(type='ContrastiveHead', temperature=0.2),
            queue_length=4,
        ),
    ):
        assert MODELS.build(model).data_preprocessor.mean.unique().tolist() == [0.5]


def test_the_constants_are_not_stored():
    assert ViewPreprocessor().state_dict() == {}
