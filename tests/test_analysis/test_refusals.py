"""Bad input of the analyses is refused with the argument at fault."""

import sys

import pytest
import torch

from mmssl.analysis.attention import Attention, attention_maps, mass_mask, window_patches
from mmssl.analysis.embedding import project
from mmssl.analysis.session import model_with_weights
from mmssl.models.backbones import ResNet

from ..helpers.refusals import refuses

PLACES = torch.arange(6)[None]
WINDOWED = Attention(torch.ones(1, 1, 1, 6, 6) / 6, PLACES, PLACES, (2, 3), cls=False)


@pytest.mark.parametrize(
    ('call', 'key', 'value', 'fact'),
    [
        (lambda: attention_maps(WINDOWED, 'cls'), 'query', 'cls', ''),
        (lambda: attention_maps(WINDOWED, 'all'), 'query', 'all', 'cls, mean or ROW,COLUMN'),
        (lambda: attention_maps(WINDOWED, (2, 0)), 'query', (2, 0), '2 x 3 patches'),
        (lambda: attention_maps(WINDOWED, (0, -1)), 'query', (0, -1), '2 x 3 patches'),
        (lambda: mass_mask(torch.ones(3), 0.0), 'mass', 0.0, ''),
        (lambda: mass_mask(torch.ones(3), 1.5), 'mass', 1.5, ''),
        (
            lambda: window_patches(ResNet(18, layers=(1,), width=4), 0, (2, 2)),
            *('backbone', 'ResNet', ''),
        ),
        (lambda: project(torch.ones(9, 2), 'lda'), 'method', 'lda', 'pca, tsne, umap'),
        (lambda: project(torch.ones(3, 2)), 'features', 3, 'at least 4'),
        (lambda: project(torch.randn(9, 1)), 'features', 1, 'at least 2'),
        (lambda: model_with_weights('some.py', None, 'cpu'), '--weights', None, 'random'),
    ],
)
def test_bad_arguments(call, key, value, fact):
    with refuses(key, value) as caught:
        call()
    assert fact in str(caught.value)


def test_a_method_whose_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'umap', None)
    with refuses('method', 'umap') as caught:
        project(torch.eye(9), 'umap')
    assert 'pip install umap-learn' in str(caught.value)
