"""Encoders with the images that their own configuration asks for."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from mmssl.core import UserError
from mmssl.datasets.encoded_image import as_pil
from mmssl.encoder_report.encoders import load_encoder, preparation_of, settings_of
from mmssl.encoder_report.models import Run
from mmssl.registry import TRANSFORMS

from ..helpers.images import make_image
from ..helpers.refusals import refuses

NAMES = (
    'vit_tiny_patch16_224.augreg_in21k',
    'tf_efficientnet_lite0',
    'convnext_atto.d2_in1k',
    'vit_small_patch14_dinov2.lvd142m',
    'vit_base_patch16_siglip_224.webli',
    'vit_base_patch16_clip_224.openai',
)


@pytest.mark.parametrize('name', NAMES)
def test_images_of_timm_are_those_of_its_data_configuration(name):
    with torch.device('meta'):
        net = timm.create_model(name)
    cfg = resolve_model_data_config(net)
    preparation = preparation_of(f'timm:{name}')
    image = make_image((300, 260))
    theirs = create_transform(**cfg)(image)  # (3, H, W), normalised
    (step,) = preparation.pipeline[1:]
    pixels = TRANSFORMS.build(step).view(image)
    stated = preparation.normalisation
    ours = torch.stack([
        (torch.tensor(np.asarray(band).ravel().tolist(), dtype=torch.float64) / 255 - m) / s
        for band, m, s in zip(pixels.split(), stated['mean'], stated['std'], strict=True)
    ]).view(3, *reversed(pixels.size))  # fmt: skip
    assert ours.shape == theirs.shape == (3, preparation.size, preparation.size)
    assert (ours - theirs).abs().max() < 1e-5


def test_images_of_torchvision_are_those_of_its_weights():
    from torchvision.models import MobileNet_V3_Small_Weights as Weights

    transforms = Weights.DEFAULT.transforms()
    found = preparation_of('torchvision:mobilenet_v3_small')
    image = make_image((300, 260))
    view = TRANSFORMS.build(found.pipeline[1]).view(image)
    assert view.size == (224, 224)
    theirs = transforms.resize_size, transforms.crop_size, transforms.mean
    step = found.pipeline[1]
    assert ([step['resize']], [step['size']], found.normalisation['mean']) == theirs


def test_a_config_is_evaluated_with_its_own_images(tiny_config):
    run = Run('tiny', 0, 'random', str(tiny_config('vit')))
    encoder = load_encoder(run)
    assert encoder.preparation.size == 16 and encoder.dense_size == 32
    assert encoder.identity['mean'] == [0.485, 0.456, 0.406]
    assert settings_of(encoder)['type'] == 'VisionTransformer'
    features = encoder.model.encode(torch.zeros(2, 3, 16, 16))
    assert features.pooled.shape == (2, 16) and features.grid == (2, 2)


def test_seeds_of_random_weights_differ_and_are_repeatable(tiny_config):
    network = str(tiny_config('vit'))
    hashes = [
        load_encoder(Run('r', seed, 'random', network)).identity['weights'] for seed in (0, 1, 0)
    ]
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_network_is_named_for_files_that_do_not_tell_it(tmp_path):
    net = timm.create_model('convnext_atto', num_classes=3)
    file = tmp_path / 'plain.pth'
    torch.save(net.state_dict(), file)
    with refuses('MODEL', str(file)):
        load_encoder(Run('x', 0, str(file)))
    encoder = load_encoder(Run('x', 0, str(file), 'timm:convnext_atto'))
    inputs = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net.eval().forward_head(net.forward_features(inputs), pre_logits=True)
    assert torch.allclose(encoder.model.encode(inputs).pooled, expected, atol=1e-5)


def test_a_network_of_torchvision_without_its_classifier(tmp_path):
    from torchvision import models

    net = models.mobilenet_v3_small().eval()
    file = tmp_path / 'mobilenet.pth'
    torch.save(net.state_dict(), file)
    encoder = load_encoder(Run('m', 0, str(file), 'torchvision:mobilenet_v3_small'))
    net.classifier[3] = torch.nn.Identity()
    inputs = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net(inputs)
        assert torch.allclose(encoder.model.encode(inputs).pooled, expected, atol=1e-5)
    torch.save(dict(other=torch.zeros(1)), file)
    with refuses('MODEL', str(file)):
        load_encoder(Run('m', 0, str(file), 'torchvision:mobilenet_v3_small'))


def test_pixels_are_the_mean_over_parts_of_the_view():
    encoder = load_encoder(Run('pixels', 0, 'pixels'))
    x = torch.randn(2, 3, 64, 96)
    features = encoder.model.encode(x)
    pooled = features.pooled.view(2, 3, 32, 32)
    assert torch.allclose(pooled[1, 2, 3, 4], x[1, 2, 6:8, 12:15].mean(), atol=1e-6)
    assert features.grid == (4, 6)
    patch = features.tokens[0, 7].view(3, 16, 16)  # second row, second column
    assert torch.equal(patch, x[0, :, 16:32, 16:32])
    with pytest.raises(UserError):
        encoder.model.backbone.attention_layers()


def test_the_squashed_view_is_the_whole_image():
    image = make_image((40, 20))
    view = TRANSFORMS.build(dict(type='SquashView', size=16, interpolation='bilinear'))
    expected = as_pil(image).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(view.view(image), expected)
