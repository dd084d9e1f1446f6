"""CvT, ViL and Swin against recorded forwards of the official modules."""

import random
from functools import cache

import pytest
import torch
from safetensors.torch import load_file

from mmssl.checkpoint import load
from mmssl.models.backbones import CvT, ResNet, SwinTransformer, ViL, VisionTransformer

from ..helpers.paths import GOLDEN

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
    for branch in ('teacher', 'student'):
        nets[branch] = build(name).eval()
        report = load(nets[branch], folder / 'official.pth', part='backbone', branch=branch)
        assert report.branch == branch and not report.missing and not report.mismatched
    images = {k: v.double() for k, v in load_file(folder / 'batch.safetensors').items()}
    return name, nets, images, load_file(folder / 'expect.safetensors')


@pytest.fixture(params=['esvit_cvt_a', 'esvit_vil_a'])
def case(request):
    return recorded(request.param)


@pytest.mark.parametrize('branch', ['teacher', 'student'])
@pytest.mark.parametrize('image', ['image', 'image_local'])
def test_features_at_two_resolutions(case, branch, image):
    _, nets, images, expect = case
    features = nets[branch].encode(images[image])
    assert relative(features.pooled, expect[f'feat.{branch}.{image}.pooled']) < 1e-9
    assert relative(features.tokens, expect[f'feat.{branch}.{image}.region']) < 1e-9


@pytest.mark.parametrize('blocks', [1, 2, 3, 4, 5])
def test_descriptor_of_the_last_blocks(case, blocks):
    _, nets, images, expect = case
    ours = nets['teacher'].last_blocks_features(images['image'], blocks)
    assert relative(ours, expect[f'feat.teacher.image.last_blocks_{blocks}']) < 1e-9


def test_stage_outputs(case):
    name, nets, images, expect = case
    net = nets['teacher']
    grids = [t for i, t in enumerate(net.iter_blocks(images['image'])) if i in net.stage_ends]
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
    load(net, GOLDEN / name / 'official.pth', part='backbone', branch='teacher')
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


def moby_swin(branch):
    net = SwinTransformer(
        (12, (1, 2, 2, 1), (1, 2, 4, 4)),
        img_size=64,
        patch_size=2,
        window_size=4,
        out_indices=(0, 1, 2, 3),
        out_norm=True,
    )
    source = SwinTransformer((12, (1, 2, 2, 1), (1, 2, 4, 4)), 64, 2, 4)
    report = load(
        source, GOLDEN / 'moby_transfer_a' / 'official.pth', part='backbone', branch=branch
    )
    assert not report.missing and not report.mismatched
    net.load_state_dict(source.state_dict(), strict=False)
    return net.double().eval()


@pytest.mark.parametrize(('branch', 'name'), [('student', 'online'), ('teacher', 'target')])
def test_swin_as_it_was_pretrained(golden, branch, name):
    case = golden('moby_transfer_a')
    pooled = moby_swin(branch).encode(case.batch['image_cls'].double()).pooled
    assert relative(pooled, case.expect[f'cls.feat_{name}']) < 1e-9


def test_swin_as_a_detector_uses_it(golden):
    """70 x 93 px: patches, windows and merging all pad."""
    case = golden('moby_transfer_a')
    maps = moby_swin('student')(case.batch['image_det'].double())
    for i, ours in enumerate(maps):
        assert relative(ours, case.expect[f'det.stage_{i}']) < 1e-9


# parameters, entries of the official state dict, how many of them ours does not store
COUNTS = {
    'Swin-T W7': (lambda: SwinTransformer('tiny'), 27_519_354, 183, 12),
    'Swin-T W14': (lambda: SwinTransformer('tiny', window_size=14), 27_569_754, 183, 12),
    'Swin-S W7': (lambda: SwinTransformer('small'), 48_837_258, 351, 24),
    'Swin-S W14': (lambda: SwinTransformer('small', window_size=14), 48_968_298, 351, 24),
    'Swin-B W7': (lambda: SwinTransformer('base'), 86_743_224, 351, 24),
    'Swin-B W14': (lambda: SwinTransformer('base', window_size=14), 86_917_944, 351, 24),
    'Swin-L W7': (lambda: SwinTransformer('large'), 194_995_476, 351, 24),
    'CvT s1': (CvT, 29_303_616, 234, 0),
    # an index per block, and both names of what local and global tokens share
    'vil_2262': (ViL, 27_569_352, 241, 12 + 4 * 6),
    'ResNet-50': (ResNet, 23_508_032, 318, 0),
    'ResNet-50 w2': (lambda: ResNet(width=128), 93_907_072, 318, 0),
    'ResNet-50 w4': (lambda: ResNet(width=256), 375_378_176, 318, 0),
    'ViT-T/16': (lambda: VisionTransformer('tiny'), 5_524_416, 150, 0),
    'ViT-S/16': (lambda: VisionTransformer('small'), 21_665_664, 150, 0),
    'ViT-B/16': (lambda: VisionTransformer('base'), 85_798_656, 150, 0),
    'iBOT ViT-S': (lambda: VisionTransformer('small', mask_token=True), 21_666_048, 151, 0),
    'iBOT ViT-B': (lambda: VisionTransformer('base', mask_token=True), 85_799_424, 151, 0),
}


@pytest.mark.parametrize('name', COUNTS)
def test_full_size_counts_are_the_published_ones(name):
    make, parameters, entries, unstored = COUNTS[name]
    with torch.device('meta'):
        net = make()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == entries - unstored
    if name == 'CvT s1':
        running = [v for n, v in net.state_dict().items() if 'running' in n]
        assert sum(v.numel() for v in running) == 8_704
