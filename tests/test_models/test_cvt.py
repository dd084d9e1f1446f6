"""CvT's windows against attention among all tokens with a mask."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.models.backbones import CvT
from mmssl.models.backbones.cvt import WindowAttention


def by_hand(attn, x):
    """All tokens of the padded map attend to those of their window; scale of all channels."""
    c, h, width = x.shape[1:]
    w = min(attn.window, h, width)
    x = F.pad(x, (0, -width % w, 0, -h % w))
    height, wide = x.shape[2:]
    place = torch.cartesian_prod(torch.arange(height), torch.arange(wide))
    seen = (place[:, None] // w == place // w).all(-1)
    q, k, v = attn.qkv.pw(attn.qkv.bn(attn.qkv.dw(x))).flatten(2).transpose(1, 2).chunk(3, 2)
    parts = []
    for at in torch.arange(c).chunk(attn.heads):
        scores = q[..., at] @ k[..., at].transpose(1, 2) / c**0.5
        parts.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v[..., at])
    y = torch.cat(parts, 2).transpose(1, 2).unflatten(2, (height, wide))
    return attn.proj_out(y)[..., :h, :width]


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('size', [(8, 8), (6, 9), (3, 3), (2, 7), (1, 1)])
def test_attention_in_windows_of_the_padded_map(size, training):
    attn = WindowAttention(12, 3, 4, True).double().train(training)
    nn.init.normal_(attn.qkv.bn.running_mean)
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    assert_close(attn(x), by_hand(attn, x), rtol=0, atol=1e-12)
    padded = [-n % min(4, *size) for n in size]
    if training and any(padded):  # statistics include the padding: it is no zero there
        inside = attn.qkv.dw(F.pad(x, (0, padded[1], 0, padded[0])))
        expected = inside.mean((0, 2, 3))
        attn.qkv.bn.reset_running_stats()
        attn(x)
        assert_close(attn.qkv.bn.running_mean, 0.1 * expected, rtol=0, atol=1e-12)


def test_norms_are_computed_in_float32():
    net = CvT((8,), (1,), (1,), (4,), ((7, 4, 2),)).eval()
    x = 30 + torch.randn(1, 8, 5, 5)
    norm = net.net.norm
    ours = norm(x.bfloat16())
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, norm(x.bfloat16().float()).bfloat16())


def test_initialisation():
    net = CvT()
    for name, value in net.named_parameters():
        if value.dim() > 1:
            assert value.std().item() == pytest.approx(0.02, rel=0.15), name
        else:
            norm = name.endswith(('norm.weight', 'bn.weight'))
            assert (value == norm).all(), name
