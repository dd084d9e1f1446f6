"""The vision transformer: positions, initialisation, stems, and timm's own numbers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.backbones import VisionTransformer
from mmssl.models.backbones.vit import sincos_positions

TINY = dict(arch=(16, 3, 2), img_size=16, patch_size=8)


def test_positions_of_the_network_are_fixed_and_row_major():
    net = VisionTransformer(**TINY, positions='sincos').net
    assert torch.equal(net.pos_embed, sincos_positions(2, 2, 16, torch.float32))
    assert not net.pos_embed.requires_grad
    row, column = net.pos_embed[0, 1:].view(2, 2, 2, 8).unbind(2)  # halves of the table
    assert torch.equal(row[:, 0], row[:, 1])
    assert torch.equal(column[0], column[1])


def uniform(weight, bound):
    """Whether weights fill U(-bound, bound): range, mean and deviation within 5 sigma."""
    n = weight.numel()
    assert weight.abs().max() <= bound
    assert weight.abs().max() > bound * (1 - 20 / n)
    assert abs(weight.mean()) < 5 * bound / math.sqrt(3 * n)
    # the variance of x^2 is 4/45 of bound^4
    assert abs(weight.square().mean() - bound**2 / 3) < 5 * bound**2 * math.sqrt(4 / 45 / n)


def test_moco_initialisation():
    dim, patch = 48, 8
    net = VisionTransformer((dim, 2, 4), img_size=32, patch_size=patch, init='moco').net
    for block in net.blocks:
        for part in block.attn.qkv.weight.chunk(3):  # three matrices, not one of 3 dim rows
            uniform(part, math.sqrt(6 / (dim + dim)))
        uniform(block.attn.proj.weight, math.sqrt(6 / (dim + dim)))
        uniform(block.mlp.fc1.weight, math.sqrt(6 / (dim + 4 * dim)))
        uniform(block.mlp.fc2.weight, math.sqrt(6 / (dim + 4 * dim)))
    uniform(net.patch_embed.proj.weight, math.sqrt(6 / (3 * patch**2 + dim)))
    biases = [p for n, p in net.named_parameters() if n.endswith('bias')]
    assert len(biases) == 2 * 6 + 2
    assert all((b == 0).all() for b in biases)
    assert 0 < net.cls_token.abs().max() < 5e-6
    assert net.cls_token.std().item() == pytest.approx(1e-6, rel=0.5)


def test_truncated_normal_initialisation():
    net = VisionTransformer((48, 1, 4), img_size=32, patch_size=8).net
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)]
    for weight in (*weights, net.cls_token, net.pos_embed):
        spread = 5 * 0.02 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(0.02, abs=spread)
        assert abs(weight.mean()) < 5 * 0.02 / math.sqrt(weight.numel())


def test_convolutional_stem_keeps_torchs_initialisation_and_is_not_frozen():
    vit = VisionTransformer(
        (32, 1, 4), img_size=32, patch_size=16, stem='conv', init='moco', freeze_patch_embed=True
    )
    convolutions = [m for m in vit.net.patch_embed.proj if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [4, 8, 16, 32, 32]
    assert [c.bias is None for c in convolutions] == [True] * 4 + [False]
    for conv in convolutions[1:]:
        uniform(conv.weight, 1 / math.sqrt(conv.weight[0].numel()))
    assert all(p.requires_grad for p in vit.net.patch_embed.parameters())


@pytest.mark.parametrize('stride', [16, 8, 4])
def test_convolutional_stem_has_the_stride_of_its_name(stride):
    vit = VisionTransformer((16, 1, 2), img_size=32, patch_size=stride, stem='conv')
    assert vit.encode(torch.zeros(1, 3, 32, 32)).grid == (32 // stride, 32 // stride)
    assert vit.encode(torch.zeros(1, 3, 16, 48)).grid == (16 // stride, 48 // stride)


def test_named_sizes():
    with torch.device('meta'):
        for arch, dim, depth, heads in (
            ('tiny', 192, 12, 3),
            ('small', 384, 12, 6),
            ('base', 768, 12, 12),
            ('large', 1024, 24, 16),
            ('huge', 1280, 32, 16),
        ):
            vit = VisionTransformer(arch, patch_size=14 if arch == 'huge' else 16)
            found = (vit.num_features, len(vit.net.blocks), vit.net.blocks[0].attn.num_heads)
            assert found == (dim, depth, heads)
        small = VisionTransformer('small', num_heads=12, stem='conv')
        assert (len(small.net.blocks), small.net.blocks[0].attn.num_heads) == (11, 12)


def test_frozen_patch_projection():
    vit = VisionTransformer(**TINY, positions='sincos', freeze_patch_embed=True)
    frozen = {n for n, p in vit.named_parameters() if not p.requires_grad}
    names = ('pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias')
    assert frozen == {f'net.{n}' for n in names}
    vit.encode(torch.randn(2, 3, 16, 16)).pooled.sum().backward()
    assert vit.net.patch_embed.proj.weight.grad is None
    assert vit.net.cls_token.grad is not None


def test_at_its_own_size_it_is_timms_network():
    vit = VisionTransformer(**TINY).double().eval()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    theirs = vit.net.forward_features(x)
    features = vit.encode(x)
    assert_close(features.pooled, theirs[:, 0], rtol=1e-12, atol=1e-12)
    assert_close(features.tokens, theirs[:, 1:], rtol=1e-12, atol=1e-12)
    assert_close(vit.net.norm(features.raw), features.tokens, rtol=1e-12, atol=1e-12)


def test_other_sizes_are_padded_with_zeros_below_and_right():
    vit = VisionTransformer(**TINY).eval()
    x = torch.randn(2, 3, 13, 20)
    features = vit.encode(x)
    assert features.grid == (2, 3)
    padded = vit.encode(F.pad(x, (0, 4, 0, 3)))
    assert_close(features.pooled, padded.pooled, rtol=0, atol=0)


def test_masked_patches_are_the_mask_token_wherever_they_come_from():
    vit = VisionTransformer(**TINY, mask_token=True).eval()
    nn.init.normal_(vit.mask_token)
    a = torch.randn(1, 3, 16, 16)
    b = a.clone()
    b[..., :8, 8:] += 1  # patch (0, 1)
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 1] = True
    assert_close(vit.encode(a, mask).tokens, vit.encode(b, mask).tokens, rtol=0, atol=0)
    assert (vit.encode(a).tokens - vit.encode(b).tokens).abs().max() > 1e-3
