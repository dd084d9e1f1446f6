"""A backbone of mmdet or mmseg with a converted file, and ours in its place: the same maps."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmssl import transfer  # noqa: F401, its types can be named
from mmssl.checkpoint.export import export, network

from ..helpers.transfer_nets import OURS, THEIRS

pytestmark = pytest.mark.transfer


def build(library: str, config: dict, file: str) -> nn.Module:
    with DefaultScope.overwrite_default_scope(library):
        init = ConfigDict(type='Pretrained', checkpoint=str(file))
        net = MODELS.build(dict(config, init_cfg=init))
    net.init_weights()
    net.double().eval()  # mmdet's `train` returns nothing
    return net


@pytest.mark.parametrize(
    ('library', 'kind', 'size'),
    [
        ('mmdet', 'swin', (70, 93)),
        ('mmseg', 'swin', (31, 57)),
        ('mmdet', 'resnet', (70, 93)),
        ('mmseg', 'resnet', (33, 64)),
        ('mmseg', 'vit', (64, 64)),
    ],
)
def test_both_routes_give_the_same_maps(library, kind, size, pretrained, tmp_path):
    """Swin with two blocks in its last stage, where windows of pretraining do not shift."""
    source = pretrained(kind)
    written = export(network(source).state, library).state
    torch.save({'state_dict': written}, tmp_path / 'converted.pth')
    theirs = build(library, THEIRS[kind], tmp_path / 'converted.pth')
    ours = build(library, dict(OURS[kind], out_indices=(0, 1, 2, 3)), source)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        pairs = list(zip(theirs(image), ours(image), strict=True))
    assert len(pairs) == 4
    for a, b in pairs:
        assert a.shape == b.shape
        assert float((a - b).abs().max() / b.abs().max()) < 1e-9


def test_the_test_sees_other_windows(pretrained):
    """The last stage at 128 px, once with the windows of pretraining: another network."""
    ours = build('mmdet', OURS['swin'], pretrained('swin'))
    image = torch.randn(1, 3, 128, 128, dtype=torch.float64)
    with torch.no_grad():
        raw = ours.encode(image).raw.unflatten(1, (4, 4))
        plain = ours.norm3(raw).permute(0, 3, 1, 2)
        (dense,) = ours(image)
    assert float((plain - dense).abs().max() / dense.abs().max()) > 1e-3
