"""Swin's windows against attention written out position by position, and against timm."""

from functools import partial

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.backbones import SwinTransformer

from ..helpers.refusals import refuses


def swin(**settings):
    settings = {'arch': (8, (2, 2), (2, 4)), 'img_size': 56, **settings}
    net = SwinTransformer(**settings).double().eval()
    for name, value in net.named_parameters():
        if 'bias' in name:  # tables and biases large enough to matter
            nn.init.normal_(value)
    return net


def by_hand(attn, x, w, shift):
    """Attention of (B, h, w, C): pad, then shift; wrapped and other rows or columns stay apart."""
    b, h, width, c = x.shape
    x = F.pad(x, (0, 0, 0, -width % w, 0, -h % w))
    height, wide = x.shape[1:3]
    at = [(i, j) for i in range(height) for j in range(wide)]  # places in the shifted map
    came = [((i + shift) % height, (j + shift) % wide) for i, j in at]
    tokens = torch.stack([x[:, i, j] for i, j in came], 1)  # (B, N, C)
    n, heads = len(at), attn.num_heads
    q, k, v = attn.qkv(tokens).view(b, n, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) / (c // heads) ** 0.5
    place = torch.tensor(at)
    wrapped = place >= torch.tensor([height, wide]) - shift
    seen = (place[:, None] // w == place // w).all(-1)
    parted = (wrapped[:, None] != wrapped).any(-1)
    offset = (place[:, None] - place).clamp(1 - w, w - 1) + w - 1
    table = attn.relative_position_bias_table[offset[..., 0] * (2 * w - 1) + offset[..., 1]]
    scores = scores + table.permute(2, 0, 1) - 100.0 * parted
    y = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v
    y = attn.proj(y.transpose(1, 2).reshape(b, n, c))
    out = torch.zeros_like(x)
    for index, (i, j) in enumerate(came):
        out[:, i, j] = y[:, index]
    return out[:, :h, :width]


@pytest.mark.parametrize('window', [7, 14])
@pytest.mark.parametrize('size', [(14, 14), (28, 21), (8, 8), (24, 6), (3, 17)])
def test_attention_of_shifted_and_padded_windows(window, size):
    net = swin(img_size=112, window_size=window)
    block = net.net.layers[0].blocks[1]
    assert block.shift_size == (window // 2,) * 2
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    with torch.no_grad():
        ours = block.attend(x, block.shift_size)
        assert_close(ours, by_hand(block.attn, x, window, window // 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ('window', 'windows', 'shifts'),
    [(7, [7, 7, 7, 7], [3, 3, 3, 0]), (14, [14, 14, 14, 7], [7, 7, 0, 0])],
)
def test_windows_and_shifts_are_fixed_by_the_training_size(window, windows, shifts):
    with torch.device('meta'):
        net = SwinTransformer('tiny', window_size=window)
    for stage, w, s in zip(net.net.layers, windows, shifts, strict=True):
        for i, block in enumerate(stage.blocks):
            assert block.window_size == (w, w)
            assert block.shift_size == ((s, s) if i % 2 else (0, 0))
            assert len(block.attn.relative_position_bias_table) == (2 * w - 1) ** 2


@pytest.mark.parametrize('eps', [1e-5, 1e-6])
def test_at_sizes_of_whole_windows_it_is_timms_network(eps):
    settings = dict(embed_dim=8, depths=(2, 2), num_heads=(2, 4), num_classes=0)
    theirs = TimmSwin(
        56, 4, **settings, norm_layer=partial(nn.LayerNorm, eps=eps), strict_img_size=False
    )
    theirs = theirs.double().eval()
    ours = swin(norm_eps=eps)
    theirs.load_state_dict(ours.net.state_dict())
    x = torch.randn(2, 3, 56, 56, dtype=torch.float64)
    assert_close(ours.encode(x).pooled, theirs(x), rtol=1e-12, atol=1e-12)
    assert {m.eps for m in ours.modules() if isinstance(m, nn.LayerNorm)} == {eps}
    # timm shifts before it pads: another network where windows do not fill the map
    x = x[..., :40, :40]
    assert (ours.encode(x).pooled - theirs(x)).abs().max() > 1e-6


def test_feature_maps_shift_every_odd_block():
    """As mmdet and mmseg do; `encode` does not shift where the map is one window."""
    net = swin(img_size=28)
    x = torch.randn(1, 3, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        for shift, last in ((3, list(net.iter_dense_blocks(x))), (0, list(net.iter_blocks(x)))):
            block, grid = net.net.layers[0].blocks[1], last[0].grid  # 7 x 7: one window
            y = grid + by_hand(block.attn, block.norm1(grid), 7, shift)
            assert_close(last[1].grid, y + block.mlp(block.norm2(y)), rtol=0, atol=1e-12)


def test_absolute_positions_fit_the_training_size_only():
    net = swin(absolute_positions=True)
    net.encode(torch.zeros(1, 3, 56, 56, dtype=torch.float64))
    with refuses('img_size', 56):
        net.encode(torch.zeros(1, 3, 48, 48, dtype=torch.float64))


def test_windows_made_on_another_device_serve_every_one():
    """FLOP counters run networks on the meta device: nothing empty may be remembered."""
    with torch.device('meta'):
        SwinTransformer((8, (2,), (2,)), img_size=116).encode(torch.zeros(1, 3, 116, 116))
    net = SwinTransformer((8, (2,), (2,)), img_size=116).eval()
    assert net.encode(torch.zeros(1, 3, 116, 116)).pooled.isfinite().all()


def test_more_windows_than_the_kernel_takes_become_heads(monkeypatch):
    """1,024 images of 224 px have 65,536 windows; CUDA's kernel takes a batch of 65,535."""
    net = swin(img_size=56).double()
    x = torch.randn(2, 3, 56, 56, dtype=torch.float64)
    shapes = []
    fused = F.scaled_dot_product_attention

    def note(q, *args, **kwargs):
        shapes.append(tuple(q.shape[:2]))
        return fused(q, *args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', note)
    expected = net.encode(x).tokens
    assert max(batch for batch, _ in shapes) == 8
    monkeypatch.setattr('mmssl.models.backbones.swin.MAX_BATCH', 4)
    shapes.clear()
    assert_close(net.encode(x).tokens, expected, rtol=1e-12, atol=1e-12)
    assert max(batch for batch, _ in shapes) <= 4
