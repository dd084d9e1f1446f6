"""The simple feature pyramid, against its definition written out."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.ops import roi_align

from mmssl.registry import MODELS
from mmssl.transfer import SimpleFPN


def normed(x, norm):
    """LayerNorm over the channels of (B, C, h, w)."""
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    x = (x - mean) / (variance + 1e-6).sqrt()
    return x * norm.weight[:, None, None] + norm.bias[:, None, None]


def out(x, conv1, norm1, conv2, norm2):
    assert conv1.bias is conv2.bias is None
    x = normed(F.conv2d(x, conv1.weight), norm1)
    return normed(F.conv2d(x, conv2.weight, padding=1), norm2)


def test_levels_are_those_of_vitdet():
    net = MODELS.build(dict(type='SimpleFPN', in_channels=8, out_channels=6)).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 8, 6, 5).double()
    (up, norm, _, again, *p2), (half, *p3), p4, (_, *p5) = net.levels
    wide = F.gelu(normed(F.conv_transpose2d(x, up.weight, up.bias, 2), norm))
    wide = F.conv_transpose2d(wide, again.weight, again.bias, 2)
    twice = F.conv_transpose2d(x, half.weight, half.bias, 2)
    wanted = [out(wide, *p2), out(twice, *p3), out(x, *p4), out(F.max_pool2d(x, 2), *p5)]
    wanted.append(wanted[-1][:, :, ::2, ::2])
    found = net((x,))
    assert [tuple(m.shape[1:]) for m in found] == [
        (6, 24, 20), (6, 12, 10), (6, 6, 5), (6, 3, 2), (6, 2, 1)
    ]  # fmt: skip
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.transfer
def test_boxes_are_cut_from_where_they_lie():
    """mmcv's operator reads memory row by row, torchvision's minds strides."""
    from mmcv.ops import RoIAlign

    maps = SimpleFPN(8, 6)((torch.randn(2, 8, 6, 6),))
    boxes = torch.tensor([[0.0, 3.0, 5.0, 17.0, 20.0], [1.0, 0.0, 2.0, 9.0, 22.0]])
    for scale, level in zip((1.0, 0.5, 0.25, 0.125), maps, strict=False):
        ours = RoIAlign((3, 3), scale, 2, aligned=True)(level, boxes)
        theirs = roi_align(level, boxes, (3, 3), scale, 2, aligned=True)
        assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_widths_are_halved_and_quartered():
    first, second = SimpleFPN(64).levels[:2]
    assert [m.weight.shape[:2] for m in (first[0], first[3], first[4])] == [
        (64, 32), (32, 16), (256, 16)
    ]  # fmt: skip
    assert second[1].weight.shape == (256, 32, 1, 1)
