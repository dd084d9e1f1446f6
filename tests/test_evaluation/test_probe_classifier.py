"""A probe as a classifier: the logits of its layer over standardised features."""

import pytest
import torch
from mmengine.config import Config

from mmssl.evaluation.probe import Layers, Scale
from mmssl.evaluation.probe_classifier import classifier_of, settings_of
from mmssl.registry import MODELS

ENCODERS = {
    'resnet': (dict(type='ResNet', layers=(1, 1), width=4), dict(blocks=1, pool='auto')),
    'vit': (
        dict(type='VisionTransformer', arch=(16, 3, 2), img_size=16, patch_size=8),
        dict(blocks=2, pool='cls'),
    ),
}


@pytest.mark.parametrize('name', ENCODERS)
def test_logits_are_the_probes(name: str) -> None:
    backbone, layer = ENCODERS[name]
    torch.manual_seed(0)
    preprocessor = dict(type='ViewPreprocessor', mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    cfg = Config(
        dict(model=dict(type='Encoder', backbone=backbone, data_preprocessor=preprocessor))
    )
    encoder = MODELS.build(cfg.model).double().eval()
    images = torch.randn(6, 3, 16, 16).double()
    features = encoder.backbone.last_blocks_features(images, **layer)
    scale = Scale.of(features)
    weights = torch.randn(1, 3, features.shape[1]).double()
    biases = torch.randn(1, 3).double()
    expected = Layers(weights, biases).logits(scale(features))[:, 0]

    settings = settings_of(cfg, layer, 3)
    built = MODELS.build(settings).double()
    assert built.head.fc.weight.shape == weights[0].shape
    torch.set_default_dtype(torch.float64)
    try:
        model = classifier_of(encoder.backbone, settings, weights[0], biases[0], scale)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.allclose(model.logits(images), expected, rtol=1e-9, atol=1e-9)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
