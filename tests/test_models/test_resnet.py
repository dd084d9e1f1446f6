"""The residual network against torchvision's."""

import math

import pytest
import torch
import torchvision
from torch import nn
from torch.testing import assert_close

from mmssl.models.backbones import ResNet


@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_names_and_shapes_are_torchvisions(depth):
    with torch.device('meta'):
        ours = ResNet(depth).net.state_dict()
        theirs = getattr(torchvision.models, f'resnet{depth}')().state_dict()
    expected = {n: v.shape for n, v in theirs.items() if not n.startswith('fc.')}
    assert {n: v.shape for n, v in ours.items()} == expected
    assert list(ours) == list(expected)


@pytest.mark.parametrize('depth', [18, 50])
def test_features_are_torchvisions(depth):
    theirs = getattr(torchvision.models, f'resnet{depth}')(width_per_group=64).double().eval()
    theirs.fc = nn.Identity()
    ours = ResNet(depth).double().eval()
    ours.net.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert_close(ours.encode(x).pooled, theirs(x), rtol=1e-12, atol=1e-12)


def test_every_width_scales():
    with torch.device('meta'):
        ours = ResNet(50, width=128).net.state_dict()
        single = ResNet(50).net.state_dict()
    for name, value in ours.items():
        expected = [2 * n if i < 2 else n for i, n in enumerate(single[name].shape)]
        if name == 'conv1.weight':
            expected[1] = 3
        assert list(value.shape) == expected, name


def test_small_stem_keeps_small_images():
    net = ResNet(18, width=8, small_stem=True)
    assert [m.shape[-2:] for m in forward_all(net, 32)] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    large = ResNet(18, width=8)
    assert [m.shape[-2:] for m in forward_all(large, 64)] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert (net.num_features, large.widths) == (64, (8, 16, 32, 64))


def forward_all(net, size):
    net.out_indices = (0, 1, 2, 3)
    return net.eval()(torch.zeros(1, 3, size, size))


def test_initialisation():
    net = ResNet(18, width=32, zero_init_residual=True)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            n, weight = module.weight.numel(), module.weight
            fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
            expected = math.sqrt(2 / fan_out)
            assert weight.std().item() == pytest.approx(
                expected, abs=5 * expected / math.sqrt(2 * n)
            )
    last = [m for n, m in net.named_modules() if n.endswith('bn2')]
    assert len(last) == 8
    assert all((m.weight == 0).all() for m in last)
    assert all((m.weight == 1).all() for n, m in net.named_modules() if n.endswith('bn1'))
    bottleneck = ResNet(50, layers=(1, 1), width=8, zero_init_residual=True)
    assert (bottleneck.net.layer2[0].bn3.weight == 0).all()
    assert (ResNet(50, layers=(1, 1), width=8).net.layer2[0].bn3.weight == 1).all()


def test_other_numbers_of_stages():
    net = ResNet(layers=(1, 2), width=8).eval()
    assert (net.num_features, net.widths, net.stage_ends) == (64, (32, 64), (0, 2))
    assert net.encode(torch.zeros(1, 3, 32, 32)).grid == (4, 4)


def test_the_layout_of_maps_changes_no_number_and_no_weight():
    """Channels-last maps: gradients to rounding, weights and gradients lie as files have them."""
    rows, pixels = (ResNet(18, width=8, channels_last=on).double().train() for on in (False, True))
    pixels.load_state_dict(rows.state_dict())
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for net in (rows, pixels):
        net.encode(x).pooled.square().sum().backward()
    for ours, theirs in zip(pixels.parameters(), rows.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-12)
        assert ours.stride() == ours.grad.stride() == theirs.stride()
    assert_close(pixels.state_dict(), rows.state_dict(), rtol=1e-12, atol=1e-12)
    (grid,) = (tokens.grid for i, tokens in enumerate(pixels.iter_blocks(x)) if i == 7)
    assert grid.is_contiguous()  # (B, h, w, C)
