"""`Backbone.attention` of every family: its weights, applied to v, give the layer's output."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmssl.models.backbones import (
    CvT,
    SwinTransformer,
    TimmBackbone,
    ViL,
    VisionTransformer,
)

VIL = 'l1,h2,d8,n1,s1,g1,p4,f3,a0_l2,h2,d16,n1,s0,g1,p2,f3,a0_l3,h4,d16,n1,s0,g0,p1,f3,a0'
X = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(1)).double()


def of_tokens(layer, x):
    """v (B, heads, N, c) of a fused qkv layer."""
    return layer.qkv(x).unflatten(2, (3, layer.num_heads, -1))[:, :, 2].transpose(1, 2)


def watch(layer, run):
    """Input and output of a layer."""
    seen = []
    hook = layer.register_forward_hook(lambda _, inputs, y: seen.append((inputs[0], y)))
    result = run()
    hook.remove()
    return result, *seen[0]


def build(family, **settings):
    net = family(**settings).double().eval()
    for name, value in net.named_parameters():
        if 'bias' in name:
            nn.init.normal_(value)
    return net


@pytest.mark.parametrize('block', [0, 2, -1])
@pytest.mark.parametrize(
    'net',
    [
        build(VisionTransformer, arch=(16, 3, 4), img_size=32, patch_size=8),
        build(
            TimmBackbone,
            name='deit3_small_patch16_224',
            args=dict(embed_dim=16, depth=3, num_heads=4, patch_size=8, dynamic_img_size=True),
        ),
    ],
    ids=['ours', 'timm'],
)
def test_of_a_vit(net, block):
    layer = net.net.blocks[block].attn
    weights, x, y = watch(layer, lambda: net.attention(X, block))
    assert weights.shape == (2, 4, 36, 36)
    assert_close(weights.sum(-1), torch.ones(2, 4, 36).double(), rtol=0, atol=1e-12)
    ours = layer.proj((weights @ of_tokens(layer, x)).transpose(1, 2).flatten(2))
    assert_close(ours, y, rtol=0, atol=1e-12)
    first = net.net.blocks[0]  # by hand, one head of one image
    if block == 0:
        q, k, _ = layer.qkv(x)[1].chunk(3, 1)
        expected = (q[:, 4:8] @ k[:, 4:8].T / 2).softmax(1)
        assert_close(weights[1, 1], expected, rtol=0, atol=1e-12)
        assert first.attn is layer


@pytest.mark.parametrize('block', [0, 1, 3])
def test_of_swin(block):
    """Windows of 4 x 4 in a map of 10 x 14 (stage 1), shifted in block 1, then 5 x 7."""
    net = build(SwinTransformer, arch=(8, (2, 2), (2, 4)), img_size=64, window_size=4)
    layer = net.attention_layers()[block]
    weights, x, y = watch(layer, lambda: net.attention(X, block))
    heads = layer.num_heads
    assert weights.shape == (2, 12 if block < 2 else 4, heads, 16, 16)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    mixed = weights.flatten(0, 1) @ of_tokens(layer, x)
    assert_close(layer.proj(mixed.transpose(1, 2).flatten(2)), y, rtol=0, atol=1e-12)
    apart = weights[:, -1] < 1e-30  # the last window holds both ends of the map
    assert apart.any() == (block in (1, 3))


@pytest.mark.parametrize('block', [0, 1])
def test_of_cvt(block):
    net = build(
        CvT,
        widths=(8, 16),
        depths=(1, 1),
        num_heads=(2, 4),
        windows=(4, 4),
        embeds=((7, 4, 2), (3, 2, 1)),
    )
    layer = net.attention_layers()[block]
    weights, x, y = watch(layer, lambda: net.attention(X, block))
    h, w = x.shape[2:]
    rows, columns = -(-h // 4), -(-w // 4)
    assert weights.shape == (2, rows * columns, layer.heads, 16, 16)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    mixed = layer.join(weights @ layer.windows(x)[2], rows, columns, 4)
    assert_close(layer.proj_out(mixed[..., :h, :w]), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize('block', [1, 2])
def test_of_full_vil(block):
    net = build(ViL, arch=VIL, img_size=48)
    layer = net.attention_layers()[block]
    weights, x, y = watch(layer, lambda: net.attention(X, block))
    n = 36 if block == 1 else 35
    assert weights.shape == (2, layer.heads, n, n)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    v = layer.qkv(x).unflatten(2, (3, layer.heads, -1))[:, :, 2].transpose(1, 2)
    ours = layer.proj((weights @ v).transpose(1, 2).flatten(2))
    assert_close(ours, y, rtol=0, atol=1e-12)


def test_of_sliding_vil():
    """A map of 10 x 14 in chunks of 3 x 3: 20 of them, each sees itself and eight around."""
    net = build(ViL, arch=VIL, img_size=48)
    layer = net.attention_layers()[0]
    weights, x, y = watch(layer, lambda: net.attention(X, 0))
    assert weights.shape == (2, 20, 2, 9, 1 + 81)
    assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-12)
    assert (weights[:, 0, :, :, 10:19] == 0).all()  # chunk (-1, -1) of the first lies outside
    q, k, v = layer.projected(x)
    values = layer.nearby(q[:, :, 1:], k, v, (10, 14))[2]
    mixed = layer.join(weights.transpose(1, 2) @ values, (10, 14))
    ours = layer.proj(mixed.transpose(1, 2).flatten(2))
    assert_close(ours, y[:, 1:], rtol=0, atol=1e-12)
