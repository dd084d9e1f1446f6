"""Networks of one to many channels: built, filled from RGB weights, trained and resumed."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from timm.models import adapt_input_conv
from torch import nn
from torch.testing import assert_close

from mmssl.apis import load_config
from mmssl.checkpoint import load
from mmssl.core import UserError
from mmssl.datasets import ImageDataset
from mmssl.models.preprocessor import ViewPreprocessor, adopt_normalisation
from mmssl.planning.standalone_step import noise_batch
from mmssl.registry import MODELS

from ..helpers.channels import MULTI, write_folder
from ..helpers.refusals import check_refusal, refuses
from ..helpers.tiny import losses, make_runner
from ..helpers.training_state import interrupt

FAMILIES = {
    'vit': dict(type='VisionTransformer', arch=(24, 2, 2), img_size=32, patch_size=8),
    'conv stem': dict(type='VisionTransformer', arch=(24, 2, 2), img_size=32, stem='conv'),
    'swin': dict(
        type='SwinTransformer', arch=(12, (1, 1), (2, 2)), img_size=32, patch_size=4, window_size=4
    ),
    'resnet': dict(type='ResNet', depth=18, layers=(1, 1), width=8),
    'cvt': dict(type='CvT', widths=(8, 16), depths=(1, 1), num_heads=(1, 2), windows=(4, 4),
                embeds=((7, 4, 2), (3, 2, 1))),
    'vil': dict(
        type='ViL', arch='l1,h1,d12,n1,s0,g1,p4,f7,a0_l2,h2,d24,n1,s0,g1,p2,f7,a0', img_size=32),
    'timm': dict(type='TimmBackbone', name='resnet10t'),
}  # fmt: skip


def first_convolution(net):
    return next(m for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize('channels', [1, 5])
@pytest.mark.parametrize('settings', FAMILIES.values(), ids=FAMILIES)
def test_rgb_weights_fill_other_channels(tmp_path, settings, channels):
    rgb = MODELS.build(dict(settings)).eval()
    path = tmp_path / 'rgb.pth'
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in rgb.state_dict().items()}}, path)
    net = MODELS.build(dict(settings, in_channels=channels)).eval()
    report = load(net, path, part='backbone', verbose=False)
    assert len(report.adapted) == 1
    weight = first_convolution(rgb).weight
    found = first_convolution(net).weight
    assert_close(found, adapt_input_conv(channels, weight), rtol=0, atol=0)
    by_hand = {1: weight.sum(1, keepdim=True), 5: weight[:, [0, 1, 2, 0, 1]] * 3 / 5}
    assert_close(found, by_hand[channels])
    if channels == 1:  # what is alike in all channels is seen as before
        grey = torch.rand(2, 1, 32, 32)
        assert_close(net.encode(grey).pooled, rgb.encode(grey.expand(-1, 3, -1, -1)).pooled,
                     rtol=1e-4, atol=1e-4)  # fmt: skip


def test_other_weights_are_not_adapted(tmp_path):
    """Of a file of five channels nothing fits RGB, and a file of RGB stays as it is."""
    five = MODELS.build(dict(FAMILIES['vit'], in_channels=5))
    path = tmp_path / 'five.pth'
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in five.state_dict().items()}}, path)
    with pytest.raises(UserError) as caught:
        load(MODELS.build(FAMILIES['vit']), path, part='backbone', verbose=False)
    check_refusal(caught.value, 'file', str(path))
    again = MODELS.build(dict(FAMILIES['vit'], in_channels=5))
    assert load(again, path, part='backbone', verbose=False).adapted == []


# pixels -------------------------------------------------------------------------------------------
def test_16_bits_are_normalised_as_8():
    mean, std = (0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1)
    process = ViewPreprocessor(mean=mean, std=std)
    eight = torch.randint(0, 256, (2, 5, 4, 4), dtype=torch.uint8)
    sixteen = torch.from_numpy(eight.numpy().astype(np.uint16) * 257)
    found = process(dict(inputs=sixteen))['inputs']
    assert_close(found, process(dict(inputs=eight))['inputs'])
    expected = (eight / 255 - torch.tensor(mean).view(5, 1, 1)) / torch.tensor(std).view(5, 1, 1)
    assert_close(found, expected)
    with refuses('inputs', (2, 3, 4, 4)):
        process(dict(inputs=eight[:, :3]))


def test_mean_std_and_network_agree():
    with refuses('model.data_preprocessor.std', (0.2, 0.3)):
        ViewPreprocessor(mean=(0.5,), std=(0.2, 0.3))
    net = MODELS.build(dict(FAMILIES['vit'], in_channels=5))
    with refuses('model.data_preprocessor.mean', 3) as caught:
        adopt_normalisation(ViewPreprocessor(), net)
    assert 'in_channels=5' in str(caught.value)


def test_a_plan_takes_the_channels_of_the_config(tiny_config):
    load_image = dict(type='LoadImage', channels=5, value_range=(0, 4095))
    options = {'train_dataloader.dataset.pipeline': [load_image, MULTI]}
    batch = noise_batch(load_config(tiny_config(), options), 3)
    found = [(view.shape, view.dtype) for view in batch['inputs']]
    assert found == [((3, 5, 16, 16), torch.uint16)] * 2


# training -----------------------------------------------------------------------------------------
@pytest.mark.parametrize('backbone', ['vit', 'resnet'])
def test_five_channels_train_and_resume_exactly(tiny_config, tmp_path, backbone):
    root = write_folder(tmp_path / 'data', 5)
    load_image = dict(type='LoadImage', channels=5, value_range=(0, 4095))
    centre = dict(type='CenterView', size=16, resize=16)
    settings = dict(
        data_root=str(root),
        model__backbone__in_channels=5,
        model__data_preprocessor=dict(type='ViewPreprocessor', mean=(0.4,) * 5, std=(0.2,) * 5),
        train_dataloader__dataset__pipeline=[load_image, MULTI],
        val_dataloader__dataset__pipeline=[load_image, centre],
        train_cfg__max_epochs=2,
    )
    whole = make_runner(tiny_config(backbone), tmp_path / 'whole', **deepcopy(settings))
    assert isinstance(whole.train_dataloader.dataset, ImageDataset)
    expected = losses(whole)
    assert len(expected) == 4 and np.isfinite(expected).all()
    first = make_runner(tiny_config(backbone), tmp_path / 'cut', **deepcopy(settings))
    seen = interrupt(first, 3)
    again = dict(settings, resume=True, load_from=str(tmp_path / 'cut' / 'cut.pth'))
    assert seen + losses(make_runner(tiny_config(backbone), tmp_path / 'cut', **again)) == expected
