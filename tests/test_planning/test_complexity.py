"""Parameters and operations, as published."""

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from timm.layers import set_fused_attn
from torch import nn

from mmssl.apis import get_model
from mmssl.apis.model import read_config
from mmssl.models.backbones import ResNet, SwinTransformer, VisionTransformer
from mmssl.planning.complexity import _AllOutputs, cost, count, flops
from mmssl.registry import MODELS

from ..helpers.command import call, refused

# mmpretrain's metafile: parameters of the model, operations of its backbone
PUBLISHED = [
    ('mocov3_resnet50_8xb512-amp-coslr-100e_in1k', 68_012_160, 4_109_364_224),
    ('mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k', 84_266_752, 4_607_954_304),
    ('mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k', 215_678_464, 17_581_972_224),
    ('mocov3_vit-large-p16_64xb64-amp-coslr-300e_in1k', 652_781_568, 61_603_111_936),
    ('vit-small-p16_mocov3-pre_8xb128-linear-coslr-90e_in1k', 22_050_664, 4_607_954_304),
]
LARGE = [pytest.param(*row, marks=pytest.mark.slow) if row[2] > 2e10 else row for row in PUBLISHED]
SCRIPT = 'tools/analysis_tools/count_params.py'
pytestmark = pytest.mark.filterwarnings('ignore')  # tracing warns of every Python number


@pytest.mark.parametrize(('name', 'parameters', 'operations'), LARGE)
def test_published_counts(name, parameters, operations):
    cfg, _ = read_config(name)
    with torch.device('meta'):
        assert count(MODELS.build(cfg.model)) == parameters
    assert flops(MODELS.build(cfg.model.backbone)) == operations


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
    """Attention, spelled out."""
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v


@pytest.mark.parametrize(
    'backbone',
    [
        VisionTransformer((24, 2, 3), img_size=48),
        SwinTransformer((12, (2, 2), (1, 2)), img_size=64, window_size=4),
    ],
    ids=lambda b: type(b).__name__,
)
def test_fused_attention_counts_as_its_products(backbone, monkeypatch):
    found = flops(backbone, 96)
    monkeypatch.setattr(nn.functional, 'scaled_dot_product_attention', attention)
    set_fused_attn(False)
    try:
        counter = FlopAnalyzer(_AllOutputs(backbone).eval(), torch.zeros(1, 3, 96, 96))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert found == counter.total()
    finally:
        set_fused_attn(True)


def test_counting_by_hand():
    net = ResNet(18, layers=(1,), width=4, small_stem=True).train()
    convolutions = 3 * 4 * 9 + 2 * 4 * 4 * 9
    assert count(net) == convolutions + 3 * 2 * 4
    one, two = flops(net, 16), flops(net, (16, 32))
    assert two == 2 * one and one >= convolutions * 16 * 16
    assert net.training and net.net.bn1.training


def test_a_cost_has_four_parts(tiny_config):
    model = get_model(tiny_config('resnet'))
    found = cost(model, 16)
    assert found.backbone == count(model.student.backbone)
    assert found.trained == found.parameters - count(model.teacher)
    assert found.flops == flops(model.student.backbone, 16)


def test_the_tool_prints_them(capsys, tiny_config):
    name = 'mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k'
    done = call(capsys, name, script=SCRIPT)
    assert done.code == 0
    for text in ('84,266,752 parameters     84.27 M', '4,607,954,304 operations      4.61 G'):
        assert text in done.out
    small = call(capsys, tiny_config(), '--size', 16, 24, script=SCRIPT)
    assert '(16 x 24 px)' in small.out
    refused(call(capsys, 'nothing', script=SCRIPT), 'name', 'nothing')
