"""EsViT's CvT and ViL against recorded forwards of the official modules."""

import random
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmssl.checkpoint import load
from mmssl.models.backbones import CvT, ViL

GOLDEN = Path(__file__).parents[1] / 'golden'
VIL = (
    'l1,h2,d16,n1,s1,g1,p4,f3,a0_l2,h2,d24,n1,s1,g1,p2,f3,a0_'
    'l3,h4,d32,n2,s0,g1,p2,f3,a0_l4,h4,d48,n2,s0,g0,p2,f3,a0'
)


def build(case: str):
    if case == 'esvit_vil_a':
        return ViL(VIL, img_size=96).double()
    return CvT((8, 16, 24, 32), (1, 1, 2, 2), (1, 2, 3, 4), (4, 4, 4, 4)).double()


def relative(ours, expected) -> float:
    return float((ours.detach() - expected).abs().max() / expected.abs().max())


@cache
def recorded(name: str):
    folder = GOLDEN / name
    nets = {}
    for side in ('teacher', 'student'):
        nets[side] = build(name).eval()
        report = load(nets[side], folder / 'official.pth', part='backbone', side=side)
        assert report.side == side and not report.missing and not report.mismatched
    images = {k: v.double() for k, v in load_file(folder / 'batch.safetensors').items()}
    return name, nets, images, load_file(folder / 'expect.safetensors')


@pytest.fixture(params=['esvit_cvt_a', 'esvit_vil_a'])
def case(request):
    return recorded(request.param)


@pytest.mark.parametrize('side', ['teacher', 'student'])
@pytest.mark.parametrize('image', ['image', 'image_local'])
def test_features_at_two_resolutions(case, side, image):
    _, nets, images, expect = case
    features = nets[side].encode(images[image])
    assert relative(features.pooled, expect[f'feat.{side}.{image}.pooled']) < 1e-9
    assert relative(features.tokens, expect[f'feat.{side}.{image}.region']) < 1e-9


@pytest.mark.parametrize('blocks', [1, 2, 3, 4, 5])
def test_descriptor_of_the_last_blocks(case, blocks):
    _, nets, images, expect = case
    ours = nets['teacher'].descriptor(images['image'], blocks)
    assert relative(ours, expect[f'feat.teacher.image.last_blocks_{blocks}']) < 1e-9


def test_stage_outputs(case):
    name, nets, images, expect = case
    net = nets['teacher']
    grids = [t for i, t in enumerate(net.stream(images['image'])) if i in net.stage_ends]
    if name == 'esvit_cvt_a':
        for i, tokens in enumerate(grids):
            ours = tokens.grid.permute(0, 3, 1, 2)
            assert relative(ours, expect[f'feat.teacher.image.stage{i}']) < 1e-9
    else:
        for i, tokens in enumerate(grids[:3]):  # global tokens first
            ours = torch.cat([tokens.cls, tokens.grid.flatten(1, 2)], 1)
            assert relative(ours, expect[f'feat.teacher.image.layer{i + 1}_tokens']) < 1e-9


def test_cvt_batch_norm_in_train_mode():
    name, _, images, expect = recorded('esvit_cvt_a')
    net = build(name).train()
    load(net, GOLDEN / name / 'official.pth', part='backbone', side='teacher')
    pooled = net.encode(images['image']).pooled
    assert relative(pooled, expect['feat.teacher.image.train_pooled']) < 1e-9
    state = net.net.state_dict()
    moved = [key for key in expect if key.startswith('after_train.teacher.')]
    assert len(moved) == 4
    for key in moved:
        assert relative(state[key.removeprefix('after_train.teacher.')], expect[key]) < 1e-9


@pytest.mark.parametrize('k', range(1, 9))
def test_vil_looks_at_one_random_neighbour_in_training(k, monkeypatch):
    _, nets, images, expect = recorded('esvit_vil_a')
    monkeypatch.setattr(random, 'randrange', lambda low, high: k)
    net = nets['teacher'].train()
    pooled = net.encode(images['image']).pooled
    net.eval()
    assert relative(pooled, expect[f'feat.teacher.image.train_mode_{k}_pooled']) < 1e-9


def test_vil_without_neighbours():
    _, nets, images, expect = recorded('esvit_vil_a')
    net = ViL(VIL, img_size=96, mode=-1).double().eval()
    net.load_state_dict(nets['teacher'].state_dict())
    pooled = net.encode(images['image']).pooled
    assert relative(pooled, expect['feat.teacher.image.mode_minus1_pooled']) < 1e-9


def test_full_size_parameter_counts():
    with torch.device('meta'):
        assert sum(p.numel() for p in CvT().parameters()) == 29_303_616
        assert sum(p.numel() for p in ViL().parameters()) == 27_569_352
