"""Backbones as detectors use them: maps, norms, strides, activation checkpointing, odd sizes."""

import random
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.backbones import (
    CvT,
    ResNet,
    SwinTransformer,
    TimmBackbone,
    ViL,
    VisionTransformer,
)

from ..helpers.paths import REPO

VIL = (
    'l1,h2,d8,n1,s1,g1,p4,f3,a0_l2,h2,d16,n2,s1,g1,p2,f3,a0_'
    'l3,h4,d16,n1,s0,g1,p2,f3,a0_l4,h4,d24,n1,s0,g0,p2,f3,a0'
)
CONVNEXT = dict(dims=(8, 12, 16, 24), depths=(1, 2, 1, 1))
FAMILIES = {
    'vit': lambda **s: VisionTransformer((16, 4, 4), img_size=48, patch_size=8, **s),
    'convstem': lambda **s: VisionTransformer((16, 4, 4), img_size=48, stem='conv', **s),
    'swin': lambda **s: SwinTransformer((8, (1, 2, 1, 2), (1, 2, 2, 4)), 64, window_size=4, **s),
    'cvt': lambda **s: CvT((8, 12, 16, 16), (1, 2, 1, 1), (1, 2, 2, 4), (4, 4, 4, 4), **s),
    'vil': lambda **s: ViL(VIL, img_size=64, **s),
    'resnet': lambda **s: ResNet(layers=(1, 2, 1, 1), width=4, **s),
    'timm': lambda **s: TimmBackbone('convnext_atto', CONVNEXT, **s),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def build(family):
    return FAMILIES[family]


def pixels(*size):
    return torch.randn(2, 3, *size, dtype=torch.float64)


def test_maps_have_the_declared_channels_and_strides(build):
    net = build(out_indices=(0, 1, 2, 3)).double().eval()
    maps = net(pixels(64, 96))
    found = [tuple(m.shape[1:]) for m in maps]
    declared = zip(net.out_channels, net.out_strides, strict=True)
    assert found == [(c, 64 // s, 96 // s) for c, s in declared]
    assert all(m.is_contiguous() for m in maps)
    last = build().double().eval()
    assert (last.out_channels, last.out_strides) == (net.out_channels[3:], net.out_strides[3:])


@pytest.mark.parametrize(
    ('family', 'size', 'grid'),
    [
        ('vit', (70, 93), (9, 12)),
        ('convstem', (70, 93), (5, 6)),
        ('swin', (70, 93), (3, 3)),
        ('cvt', (70, 93), (3, 3)),
        ('vil', (70, 93), (2, 2)),  # what does not fill a patch is cut off, as upstream
        ('resnet', (70, 93), (3, 3)),
        ('timm', (70, 93), (2, 2)),
        *((name, (32, 32), (4, 4) if name == 'vit' else (2, 2) if name == 'convstem' else (1, 1))
          for name in FAMILIES),
        ('vit', (5, 3), (1, 1)),
        ('swin', (5, 3), (1, 1)),
        ('cvt', (5, 3), (1, 1)),
        ('resnet', (5, 3), (1, 1)),
    ],
)  # fmt: skip
def test_grids_of_any_size(family, size, grid):
    net, x = FAMILIES[family]().double().eval(), pixels(*size)
    features = net.encode(x)
    assert features.grid == grid
    assert features.tokens.shape == (2, grid[0] * grid[1], net.num_features)
    assert features.tokens.isfinite().all()
    alone = net.encode(x[1:])  # no image leaks into another
    assert_close(alone.tokens, features.tokens[1:], rtol=0, atol=1e-12)


def test_norms_of_maps_are_layer_norms_over_channels(build):
    plain = build(out_indices=(1, 3)).double().eval()
    normed = build(out_indices=(1, -1), out_norm=True).double().eval()
    found = normed.load_state_dict(plain.state_dict(), strict=False)
    assert found.missing_keys == [f'norm{i}.{part}' for i in (1, 3) for part in ('weight', 'bias')]
    nn.init.normal_(normed.norm3.weight)
    x = pixels(64, 64)
    for ours, raw, norm in zip(normed(x), plain(x), (normed.norm1, normed.norm3), strict=True):
        mean, variance = raw.mean(1, keepdim=True), raw.var(1, unbiased=False, keepdim=True)
        by_hand = (raw - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None]
        assert_close(ours, by_hand, rtol=0, atol=1e-10)


def test_the_last_norm_on_every_map():
    plain = FAMILIES['vit'](out_indices=(1, 3)).double().eval()
    normed = FAMILIES['vit'](out_indices=(1, 3), out_norm='last').double().eval()
    normed.load_state_dict(plain.state_dict())
    nn.init.normal_(normed.net.norm.weight)
    x = pixels(48, 64)
    for ours, raw in zip(normed(x), plain(x), strict=True):
        by_hand = F.layer_norm(
            raw.permute(0, 2, 3, 1), (16,), normed.net.norm.weight, normed.net.norm.bias, 1e-6
        )
        assert_close(ours, by_hand.permute(0, 3, 1, 2), rtol=0, atol=1e-12)


def test_norms_of_frozen_stages_are_frozen():
    net = FAMILIES['swin'](out_indices=(0, 1, 2, 3), out_norm=True, frozen_stages=2)
    assert [getattr(net, f'norm{i}').weight.requires_grad for i in range(4)] == [False] * 2 + [
        True
    ] * 2


def test_weights_without_norms_fill_a_backbone_with_them(tmp_path):
    source = FAMILIES['resnet']()
    state = {f'backbone.{n}': v for n, v in source.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'weights.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    net = FAMILIES['resnet'](out_indices=(0, 3), out_norm=True, init_cfg=init)
    net.init_weights()
    assert torch.equal(net.net.conv1.weight, source.net.conv1.weight)
    assert torch.equal(net.norm3.weight, torch.ones(64 * 2))


def gradients(net, x):
    random.seed(3)
    torch.manual_seed(3)
    features = net.encode(x)
    after = random.random()
    (features.pooled.square().sum() + features.tokens[:, 0].sum()).backward()
    return features.pooled.detach(), {n: p.grad for n, p in net.named_parameters()}, after


def test_recomputing_activations_changes_nothing(family, build):
    """Outputs, gradients, batch norms, random numbers: drop path, and ViL's neighbours."""
    drop = {} if family in ('resnet', 'timm') else dict(drop_path_rate=0.5)
    kept = build(**drop).double().train()
    saving = build(with_cp=True, **drop).double().train()
    saving.load_state_dict(kept.state_dict())
    x = pixels(64, 64)
    for ours, theirs in zip(gradients(saving, x), gradients(kept, x), strict=True):
        assert_close(ours, theirs, rtol=0, atol=0)
    assert_close(saving.state_dict(), kept.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize('family', ['vit', 'swin', 'cvt', 'vil', 'resnet'])
def test_recomputing_activations_keeps_fewer(family):
    def kept(with_cp):
        net = FAMILIES[family](with_cp=with_cp).double().train()
        count = []

        def pack(t):
            count.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            net.encode(pixels(64, 64))
        return sum(count)

    assert kept(True) < kept(False) / 2


def test_a_frozen_and_recomputed_stem_lets_gradients_through():
    net = FAMILIES['resnet'](with_cp=True, frozen_stages=1).double().train()
    net.encode(pixels(64, 64)).pooled.sum().backward()
    assert net.net.layer1[0].conv1.weight.grad is None
    assert net.net.layer2[0].conv1.weight.grad.abs().sum() > 0


def test_swins_maps_of_padded_images_are_those_of_zeros():
    net = FAMILIES['swin'](out_indices=(0, 1, 2, 3)).double().eval()
    x = pixels(62, 61)
    for ours, padded in zip(net(x), net(F.pad(x, (0, 3, 0, 2))), strict=True):
        assert_close(ours, padded, rtol=0, atol=0)


def test_the_backbone_of_the_documentation():
    code = re.search(
        r'## Add one.*?```python\n(.*?)```', (REPO / 'docs/backbones.md').read_text(), re.S
    )
    space = {}
    exec(code[1].replace('@MODELS.register_module()\n', ''), space)
    plain, full = (
        space['Mosaic'](out_indices=(0, 2), **more).double()
        for more in ({}, dict(with_cp=True, out_norm=True, frozen_stages=1))
    )
    full.load_state_dict(plain.state_dict(), strict=False)
    x = pixels(16, 24)
    assert [m.shape for m in plain(x)] == [(2, 32, 2, 3)] * 2
    assert_close(full(x)[1].mean(1), torch.zeros(2, 2, 3).double(), rtol=0, atol=1e-9)
    gradients = [net.encode(x).pooled.square().sum() for net in (plain, full)]
    for net, loss in zip((plain, full), gradients, strict=True):
        loss.backward()
        assert (net.net.embed.weight.grad is None) == (net is full)
    assert_close(full.net.blocks[2].weight.grad, plain.net.blocks[2].weight.grad)
