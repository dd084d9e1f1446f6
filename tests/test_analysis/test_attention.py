"""Attention maps on the grid: positions, sums and spread of the weights."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mmssl.analysis.attention import Attention, attention_maps, block_attention, entropy, mass_mask
from mmssl.analysis.attention_figures import darkened
from mmssl.models.backbones import CvT, ResNet, SwinTransformer, ViL, VisionTransformer

from ..helpers.refusals import refuses

VIL = 'l1,h2,d8,n1,s1,g1,p4,f3,a0_l2,h2,d16,n1,s0,g1,p2,f3,a0_l3,h4,d16,n1,s0,g0,p1,f3,a0'
EXACT = dict(rtol=0, atol=1e-12)


def pixels(height: int = 40, width: int = 56) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, height, width, generator=generator).double()


def swin(**settings):
    net = SwinTransformer(arch=(8, (2, 2), (2, 4)), img_size=64, window_size=4, **settings)
    return net.double().eval()


def vil():
    return ViL(VIL, img_size=48).double().eval()


def cvt():
    settings = dict(widths=(8, 16), depths=(1, 1), num_heads=(2, 4), windows=(3, 3))
    return CvT(**settings, embeds=((7, 4, 2), (3, 2, 1))).double().eval()


def mixed(found: Attention, values: Tensor, extra: Tensor | None = None) -> Tensor:
    """Sum of values (B, M, N, c) by the weights and their places -> (B, M, N, c), by hand."""
    b, m, n, c = values.shape
    out = values.new_full((b, m, n, c), float('nan'))
    for w, q in itertools.product(range(found.weights.shape[1]), range(found.weights.shape[3])):
        at = int(found.queries[w, q])
        if at < 0:
            continue
        keys = found.keys[w]
        each = values[:, :, keys.clamp_min(0)] * (keys >= 0)[:, None]
        if extra is not None:
            each[:, :, : extra.shape[2]] = extra
        out[:, :, at] = (found.weights[:, w, :, q, :, None] * each).sum(2)
    return out


def logged_embeddings(layer, run):
    seen = []
    hook = layer.register_forward_hook(lambda _, inputs, y: seen.append((inputs[0], y)))
    run()
    hook.remove()
    return seen[0]


@pytest.mark.parametrize('block', [0, 1, 3])
def test_places_of_swin(block):
    """The block's output follows from tokens taken by their place; 48 x 64 px fill all windows."""
    net, x = swin(), pixels(64, 64)
    found = block_attention(net, x, block)
    assert found.grid == ((16, 16) if block < 2 else (8, 8))
    part = [b for stage in net.net.layers for b in stage.blocks][block]
    _, tokens = logged_embeddings(part.norm1, lambda: list(net.iter_blocks(x)))  # (B, h, w, C)
    out = part.attend(tokens, part.shift_size).flatten(1, 2)
    v = part.attn.qkv(tokens.flatten(1, 2)).unflatten(2, (3, part.attn.num_heads, -1))[:, :, 2]
    ours = part.attn.proj(mixed(found, v.transpose(1, 2)).transpose(1, 2).flatten(2))
    assert_close(ours, out, **EXACT)


@pytest.mark.parametrize('block', [0, 1])
def test_places_of_cvt(block):
    net, x = cvt(), pixels(48, 48)
    layer = net.attention_layers()[block]
    before, after = logged_embeddings(layer, lambda: list(net.iter_blocks(x)))
    v = layer.qkv(before).unflatten(1, (3, layer.heads, -1))[:, 2].flatten(3).transpose(2, 3)
    ours = mixed(block_attention(net, x, block), v).transpose(2, 3).flatten(1, 2)  # (B, C, N)
    assert_close(layer.proj_out(ours.view_as(after)), after, **EXACT)


@pytest.mark.parametrize('size', [(48, 48), (40, 56)])
def test_places_of_sliding_vil(size):
    """With 40 x 56 px the last chunks are padded."""
    net, x = vil(), pixels(*size)
    layer = net.attention_layers()[0]
    before, after = logged_embeddings(layer, lambda: list(net.iter_blocks(x)))
    _, _, v = layer.projected(before)
    ours = mixed(block_attention(net, x, 0), v[:, :, 1:], v[:, :, :1])
    assert_close(layer.proj(ours.transpose(1, 2).flatten(2)), after[:, 1:], **EXACT)


@pytest.mark.parametrize(('make', 'block'), [(swin, 1), (cvt, 1), (vil, 0)])
def test_every_patch_asks_once_and_mean_maps_add_up(make, block):
    net, x = make(), pixels(40, 56)
    found = block_attention(net, x, block)
    h, w = found.grid
    assert sorted(found.queries[found.queries >= 0].tolist()) == list(range(h * w))
    by_patch = [attention_maps(found, (i, j)).nan_to_num(0.0) for i in range(h) for j in range(w)]
    assert_close(attention_maps(found, 'mean'), torch.stack(by_patch).mean(0), **EXACT)
    lost = (found.weights * (found.keys < 0)[:, None, None]).sum(-1)  # to padding and globals
    real = found.queries >= 0
    whole = 1 - (lost * real[:, None]).sum((1, 3)) / (h * w)
    assert_close(attention_maps(found, 'mean').sum((2, 3)), whole, **EXACT)


def test_class_token_of_a_vit():
    net, x = VisionTransformer(arch=(16, 3, 4), img_size=32, patch_size=8).double().eval(), pixels()
    weights, found = net.attention(x, 1), block_attention(net, x, 1)
    assert_close(attention_maps(found, 'cls'), weights[:, :, 0, 1:].unflatten(2, (5, 7)), **EXACT)
    assert_close(
        attention_maps(found, (2, 3)), weights[:, :, 1 + 17, 1:].unflatten(2, (5, 7)), **EXACT
    )
    by_hand = -(weights * weights.log()).sum(-1)[:, :, 1:].mean(-1)
    assert_close(entropy(found), by_hand, **EXACT)


def test_outside_the_window_is_no_number():
    found = block_attention(swin(), pixels(64, 64), 0)
    shown = attention_maps(found, (5, 9))[0, 0]
    assert sorted(shown.isfinite().nonzero().tolist()) == [
        [i, j] for i in range(4, 8) for j in range(8, 12)
    ]
    assert_close(shown.nansum(), torch.tensor(1.0).double(), **EXACT)


def test_entropy_of_even_and_of_single_attention():
    at = torch.arange(12)[None]
    even = Attention(torch.ones(1, 1, 3, 12, 12).double() / 12, at, at, (3, 4), False)
    assert_close(entropy(even), torch.tensor([[math.log(12)] * 3], dtype=torch.float64), **EXACT)
    one = even._replace(weights=torch.eye(12).double().expand(1, 1, 3, 12, 12))
    assert entropy(one).eq(0).all()


@pytest.mark.parametrize('share', [0.05, 0.6, 0.9, 1.0])
def test_mass_is_the_smallest_set_that_holds_the_share(share):
    for row in torch.rand(20, 9, dtype=torch.float64):
        kept = mass_mask(row, share)
        least = next(
            k
            for k in range(1, 10)
            for chosen in itertools.combinations(row.tolist(), k)
            if math.fsum(chosen) >= share * row.sum() * (1 - 1e-12)
        )
        assert kept.sum() == least
        assert set(row[kept].tolist()) == set(row.topk(least).values.tolist())
    half = torch.tensor([[float('nan'), 3.0], [1.0, 1.0]])
    assert mass_mask(half, 0.5).tolist() == [[False, True], [False, True]]


def test_darkened_outside():
    image = torch.full((4, 6, 3), 100, dtype=torch.uint8).numpy()
    shown = darkened(image, torch.tensor([[True, False, False], [False, False, True]]).numpy())
    assert (
        shown[..., 0].tolist()
        == [[100, 100, 25, 25, 25, 25]] * 2 + [[25, 25, 25, 25, 100, 100]] * 2
    )


@pytest.mark.parametrize(
    ('call', 'key', 'value'),
    [
        (
            lambda: block_attention(ResNet(18, layers=(1, 1), width=4).double(), pixels()),
            *('backbone', 'ResNet'),
        ),
        (
            lambda: block_attention(swin(), pixels(), 4),
            *('block', 4),
        ),
    ],
)
def test_blocks_that_do_not_exist(call, key, value):
    with refuses(key, value):
        call()
