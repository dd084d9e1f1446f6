"""ViL's two attentions against attention among all tokens with a mask."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.backbones.vil import parse_arch
from mmssl.models.backbones.vil_attention import AROUND, FullAttention, SlidingAttention


def sliding(mode=0, tokens=1):
    attn = SlidingAttention(8, 2, tokens, 3, mode).double()
    return randomised(attn)


def randomised(module):
    for name, value in module.named_parameters():
        if 'bias' in name:
            nn.init.normal_(value)
    return module


def split(x, heads):
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def by_hand(attn, x, grid, seen_from):
    """Every token attends to all it may see: global ones, and chunks at offsets ``seen_from``."""
    g, w, heads = attn.tokens, attn.window, attn.heads
    q, k, v = (split(t, heads) for t in (attn.query(x), *attn.kv(x).chunk(2, 2)))
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    place = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    chunk = place // w
    offsets = chunk - chunk[:, None]  # where the key's chunk lies from the query's
    seen = torch.stack([(offsets == torch.tensor(o)).all(-1) for o in seen_from]).any(0)
    d = (place[:, None] - place).clamp(1 - 2 * w, 2 * w - 1) + 2 * w - 1
    table = attn.local_relative_position_bias_table[d[..., 0] * (4 * w - 1) + d[..., 1]]
    bias = torch.zeros_like(scores[0])
    bias[:, g:, g:] = table.permute(2, 0, 1).masked_fill(~seen, -torch.inf)
    if g:
        bias[:, :g, :g] = attn.g2g_relative_position_bias
        bias[:, :g, g:] = attn.g2l_relative_position_bias[0][..., None]
        bias[:, g:, :g] = attn.g2l_relative_position_bias[1][:, None]
    y = (scores + bias).softmax(-1) @ v
    return attn.proj(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize('tokens', [0, 1, 2])
@pytest.mark.parametrize('grid', [(9, 9), (7, 10), (3, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize('mode', [0, -1, 4])
def test_sliding_attention(grid, tokens, mode):
    attn = sliding(mode, tokens)
    offsets = [(0, 0)] if mode == -1 else [(0, 0), *AROUND]
    x = torch.randn(2, tokens + grid[0] * grid[1], 8, dtype=torch.float64)
    attn.eval()  # a positive mode draws neighbours in training only
    assert_close(attn(x, grid), by_hand(attn, x, grid, offsets), rtol=0, atol=1e-12)


@pytest.mark.parametrize('k', range(1, 9))
def test_sliding_attention_of_one_drawn_neighbour(k, monkeypatch):
    attn = sliding(mode=1).train()
    x = torch.randn(1, 1 + 56, 8, dtype=torch.float64)
    monkeypatch.setattr(random, 'randrange', lambda low, high: k)
    expected = by_hand(attn, x, (8, 7), [(0, 0), AROUND[k - 1]])
    assert_close(attn(x, (8, 7)), expected, rtol=0, atol=1e-12)


def test_every_neighbour_is_drawn_alike():
    attn = sliding(mode=3).train()
    random.seed(0)
    drawn = [attn.neighbours()[1] for _ in range(4000)]
    assert {d: drawn.count(d) for d in AROUND} == {
        d: pytest.approx(500, abs=5 * (4000 * 7 / 64) ** 0.5) for d in AROUND
    }


def test_gradients_of_sliding_attention():
    attn, grid = sliding(), (5, 7)
    x = torch.randn(2, 36, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 36, 8, dtype=torch.float64)
    inputs = [x, *attn.parameters()]
    ours = torch.autograd.grad((attn(x, grid) * w).sum(), inputs)
    theirs = torch.autograd.grad((by_hand(attn, x, grid, [(0, 0), *AROUND]) * w).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, rtol=0, atol=1e-11)


def full_bias(attn, grid, side):
    """Bias among grid tokens by its definition, at the construction size."""
    place = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1]))
    d = place[:, None] - place + side - 1
    table = attn.local_relative_position_bias_table
    return table[d[..., 0] * (2 * side - 1) + d[..., 1]].permute(2, 0, 1)


@pytest.mark.parametrize('tokens', [0, 2])
@pytest.mark.parametrize('side', [4, 3, 6])
def test_full_attention(side, tokens):
    """Built for 4 x 4; other squares resize the assembled matrix as an image."""
    attn, n = randomised(FullAttention(8, 2, tokens, 4).double()), side * side
    x = torch.randn(2, tokens + n, 8, dtype=torch.float64)
    q, k, v = (split(t, 2) for t in attn.qkv(x).chunk(3, 2))
    bias = torch.zeros(2, tokens + n, tokens + n, dtype=torch.float64)
    local = full_bias(attn, (4, 4), 4)
    if side != 4:
        local = F.interpolate(local[None], (n, n), mode='bicubic', align_corners=False)[0]
    bias[:, tokens:, tokens:] = local
    if tokens:
        bias[:, :tokens, :tokens] = attn.g2g_relative_position_bias
        bias[:, :tokens, tokens:] = attn.g2l_relative_position_bias[0][..., None]
        bias[:, tokens:, :tokens] = attn.g2l_relative_position_bias[1][:, None]
    y = (q @ k.transpose(-2, -1) / 2 + bias).softmax(-1) @ v
    expected = attn.proj(y.transpose(1, 2).flatten(2))
    assert_close(attn(x, (side, side)), expected, rtol=0, atol=1e-12)


def test_bias_of_grids_that_are_not_square():
    """The table of offsets is resized: constant and linear tables stay what they are inside."""
    attn = FullAttention(8, 2, 0, 4).double()
    table = attn.local_relative_position_bias_table
    nn.init.constant_(table, 0.25)
    assert_close(attn.bias((3, 7)), torch.full((2, 21, 21), 0.25, dtype=torch.float64))
    with torch.no_grad():  # the column offset, -3 to 3
        table.copy_(torch.arange(-3.0, 4).repeat(7)[:, None].expand(-1, 2))
    bias = attn.bias((5, 4))  # columns keep their number
    place = torch.arange(4.0, dtype=torch.float64)
    expected = (place[:, None] - place).repeat(5, 5).expand(2, -1, -1)
    assert_close(bias, expected, rtol=0, atol=1e-12)


def test_arch_strings():
    stages = parse_arch('l1,h2,d16,n1,s0,g1,p4,f3,a0_l2,d24,s1,a0')
    assert stages[1] == dict(l=2, h=3, d=24, n=1, s=0, g=1, p=2, f=7, a=0, r=0)
