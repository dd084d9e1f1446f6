"""Swin's windows against attention written out position by position, and against timm."""

from functools import partial

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.core import Progress
from mmssl.models.backbones import SwinTransformer
from mmssl.registry import MODELS

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


# masks of a masked objective ----------------------------------------------------------------------
MASK = torch.tensor([[[True, False], [False, True]], [[False, False], [False, False]]])


def masked_swin():
    """Two stages of 8-px cells; the token differs from every patch."""
    net = swin(img_size=16, mask_token=True)
    nn.init.normal_(net.mask_token)
    return net


def test_masked_patches_are_the_mask_token_wherever_they_come_from():
    net = masked_swin()
    a = torch.randn(2, 3, 16, 16, dtype=torch.double)
    b = a.clone()
    b[0, :, :8, :8] += 1  # hidden: cell (0, 0) of the first image
    assert_close(net.encode(a, MASK).tokens, net.encode(b, MASK).tokens, rtol=0, atol=0)
    assert (net.encode(a).tokens - net.encode(b).tokens).abs().max() > 1e-3
    b[0, :, :8, 8:] += 1  # seen
    assert (net.encode(a, MASK).tokens - net.encode(b, MASK).tokens).abs().max() > 1e-3
    assert_close(net.encode(a, MASK).tokens[1], net.encode(a).tokens[1], rtol=0, atol=1e-12)


def test_a_mask_replaces_normed_patch_embeddings():
    """As if the embedding itself had given the token there (iBOT ``mask_model``)."""
    net = masked_swin()
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    found = net.encode(x, MASK).tokens
    fine = torch.tensor([[[i // 2, j // 2] for j in range(4)] for i in range(4)])
    hidden = MASK[:, fine[..., 0], fine[..., 1]]  # (B, 4, 4)

    def replace(module, args, output):
        output = output.clone()
        output[hidden] = net.mask_token
        return output

    handle = net.net.patch_embed.register_forward_hook(replace)
    expected = net.encode(x).tokens
    handle.remove()
    assert_close(found, expected, rtol=0, atol=0)


def test_ibot_hides_the_same_of_a_swin_and_of_a_vit():
    """One-stage Swin, whose cells are patches: with equal masks both count the same patches."""
    head = dict(type='DistillationHead', prototypes=9, student_temp=0.1)
    neck = dict(type='DINONeck', dims=(16, 12, 6), prototypes=9, shared=True)
    temp = dict(start=0.04, shape='constant')
    nets = dict(
        swin=dict(type='SwinTransformer', arch=(8, (1, 2), (1, 2)), img_size=32, window_size=4),
        vit=dict(type='VisionTransformer', arch=(16, 2, 2), img_size=32, patch_size=8),
    )
    mask = torch.rand(3, 2, 4, 4) < 0.4
    mask[0, 0] = False
    for kind, backbone in nets.items():
        model = MODELS.build(
            dict(type='iBOT', backbone=backbone, neck=neck, head=head, teacher_temp=temp,
                 momentum=dict(start=0.9, shape='constant'))
        )  # fmt: skip
        model.progress = Progress(0, 10, 1)
        assert model.teacher.backbone.mask_token is None
        chosen = []
        judge = model.patch_head.masked

        def noted(own, scores, hidden, temperature, judge=judge, chosen=chosen):
            chosen.append(hidden)
            return judge(own, scores, hidden, temperature)

        model.patch_head.masked = noted
        views = [torch.rand(3, 3, 32, 32) for _ in range(2)]
        losses = model(views, dict(mask=mask), mode='loss')
        losses['loss'].backward()
        (found,) = chosen
        assert torch.equal(found, mask.flatten(2)), kind
        assert model.student.backbone.mask_token.grad.abs().sum() > 0
        assert losses['patch'] > 0
        with torch.no_grad():
            bare = model(views, dict(mask=torch.zeros_like(mask)), mode='loss')
        assert bare['patch'] == 0
