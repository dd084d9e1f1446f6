"""Loading reports missing and unexpected keys, and fills the requested branch."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import Report, load, read
from mmssl.checkpoint.load import content_state, epochs_done
from mmssl.models.backbones import SwinTransformer, VisionTransformer
from mmssl.registry import MODELS

from ..helpers.methods import MODELS_BY_NAME, build
from ..helpers.paths import GOLDEN
from ..helpers.recorded import recorded
from ..helpers.refusals import refuses

SWIN = dict(arch=(8, (2, 2, 2, 1), (1, 2, 4, 8)), img_size=96, window_size=4, norm_eps=1e-6)
ESVIT = GOLDEN / 'esvit_swin_vr_a' / 'official.pth'


def save(model: Any, path: Path, **more: Any) -> Path:
    """Write a file in our own layout."""
    torch.save({'state_dict': model.state_dict(), **more}, path)
    return path


# one backbone from a file of two ------------------------------------------------------------------
def norm(net: Any) -> torch.Tensor:
    """Last norm of a bare Swin, which student and teacher do not share."""
    return net.net.norm.weight.double()


@pytest.mark.parametrize(
    ('branch', 'taken', 'key'),
    [
        ('export', 'teacher', 'norm.weight'),
        ('teacher', 'teacher', 'norm.weight'),
        ('student', 'student', 'module.norm.weight'),
    ],
)
def test_bare_backbone_takes_one_side(branch: str, taken: str, key: str) -> None:
    net = SwinTransformer(**SWIN).double()
    report = load(net, ESVIT, branch=branch)
    file = read(ESVIT)
    assert report.branch == taken
    assert torch.equal(norm(net), file[taken][key].double())
    other = {'teacher': ('student', 'module.norm.weight'), 'student': ('teacher', 'norm.weight')}
    assert not torch.equal(norm(net), file[other[taken][0]][other[taken][1]].double())
    assert not report.missing and not report.unexpected
    assert len(report.matched) == len(net.state_dict())


@pytest.mark.parametrize(
    ('name', 'net', 'entry', 'key'),
    [
        (
            'mocov2_r50_a',
            dict(type='ResNet', layers=(1, 1, 1, 1), width=4),
            'state_dict',
            'module.encoder_q.conv1.weight',
        ),
        (
            'swav_r50_a',
            dict(type='ResNet', layers=(1, 1, 1, 1), width=6),
            'state_dict',
            'module.conv1.weight',
        ),
        (
            'mocov3_vit_a',
            dict(type='VisionTransformer', arch=(32, 2, 4), img_size=48, positions='sincos'),
            'state_dict',
            'module.base_encoder.patch_embed.proj.weight',
        ),
        (
            'sere_vit_a',
            dict(type='VisionTransformer', arch=(30, 2, 3), img_size=48, patch_size=8),
            'teacher',
            'module.backbone.patch_embed.proj.weight',
        ),
    ],
)
def test_classifier_takes_the_exported_backbone(
    name: str, net: dict[str, Any], entry: str, key: str
) -> None:
    head = dict(type='LinearHead', num_classes=3)
    model = MODELS.build(dict(type='Classifier', backbone=net, head=head))
    before = model.head.fc.weight.clone()
    path = GOLDEN / name / 'official.pth'
    report = load(model, path, part='backbone')
    stem = model.backbone.net
    ours = stem.conv1.weight if hasattr(stem, 'conv1') else stem.patch_embed.proj.weight
    assert torch.equal(ours, read(path)[entry][key])
    assert report.missing == report.unexpected == []
    assert torch.equal(model.head.fc.weight, before)
    with refuses('file', str(path)) as caught:
        load(model, path)
    assert 'load_part=backbone' in str(caught.value)


def test_mask_token_stays_with_the_student() -> None:
    net = VisionTransformer((30, 2, 3), img_size=48, patch_size=8, mask_token=True)
    path = GOLDEN / 'sere_vit_a' / 'official.pth'
    load(net, path, branch='student')
    file = read(path)
    assert torch.equal(net.mask_token, file['student']['module.backbone.masked_embed'])
    report = load(net, path, branch='teacher')  # a new token, for masks to begin with
    assert (report.new, report.missing) == (['mask_token'], [])
    assert torch.equal(net.mask_token, file['student']['module.backbone.masked_embed'])


def test_positions_of_a_bare_swin_must_be_there() -> None:
    """All of a bare backbone is the backbone, not only what timm calls its net."""
    net = SwinTransformer(**SWIN, absolute_positions=True)
    with refuses('file', str(ESVIT)) as caught:
        load(net, ESVIT)
    assert ': 1 missing (absolute_pos_embed)' in str(caught.value)


# reports ------------------------------------------------------------------------------------------
def test_whole_model_of_our_own(tmp_path: Path) -> None:
    model, other = build('sere', 0), build('sere', 1)
    path = save(model, tmp_path / 'x.pth', progress=dict(iter=23, per_epoch=5))
    report = load(other, path)
    assert (report.layout, report.branch, report.epoch) == ('mmssl', 'both', 4)
    assert report.matched == list(other.state_dict())
    for key, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    assert (
        str(report) == f'{path}: {len(report.matched)} of {len(report.matched)} tensors '
        '(mmssl, both)'
    )


def test_missing_unexpected_and_mismatched_are_named(tmp_path: Path) -> None:
    state = build('mocov3').state_dict()
    del state['head.predictor.0.weight']
    state['extra.weight'] = torch.ones(1)
    state['student.neck.project.0.weight'] = torch.ones(3, 32)
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    model = build('mocov3', 1)
    before = model.head.predictor[0].weight.clone()
    report = load(model, tmp_path / 'x.pth')
    assert report.missing == ['head.predictor.0.weight']
    assert report.unexpected == ['extra.weight']
    assert report.mismatched == ['student.neck.project.0.weight (3, 32) for (16, 32)']
    assert torch.equal(model.head.predictor[0].weight, before)
    total = len(model.state_dict())
    assert str(report).endswith(
        f': {total - 2} of {total} tensors (mmssl, both), 1 missing (head.predictor.0.weight), '
        '1 unexpected (extra.weight), '
        '1 mismatched (student.neck.project.0.weight (3, 32) for (16, 32))'
    )


def test_long_lists_are_cut() -> None:
    report = Report('f', 'mmssl', 'both', ['x'], missing=['a', 'b', 'c', 'd'])
    assert str(report) == 'f: 1 of 5 tensors (mmssl, both), 4 missing (a, b, c, ...)'


@pytest.mark.parametrize('part', ['all', 'backbone'])
def test_backbone_must_be_whole(part: str, tmp_path: Path) -> None:
    state = build('mocov3').state_dict()
    del state['teacher.backbone.net.bn1.weight']
    state['student.backbone.net.conv1.weight'] = torch.ones(5, 3, 3, 3)
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(build('mocov3', 1), tmp_path / 'x.pth', part=part)
    assert ': 1 missing (teacher.backbone.net.bn1.weight)' in str(caught.value)
    shapes = '(student.backbone.net.conv1.weight (5, 3, 3, 3) for (4, 3, 3, 3))'
    assert f'1 of another shape or kind {shapes}' in str(caught.value)


def test_part_backbone_leaves_the_rest(tmp_path: Path) -> None:
    path = save(build('mocov3', 0), tmp_path / 'x.pth')
    model = build('mocov3', 1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = load(model, path, part='backbone')
    assert report.missing == report.unexpected == []
    assert all('.backbone.' in key for key in report.matched)
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key]) is ('.backbone.' not in key), key


# one backbone for both branches -------------------------------------------------------------------
def test_one_backbone_fills_both_branches(tmp_path: Path) -> None:
    """A supervised or exported network starts student and teacher alike."""
    head = dict(type='LinearHead', num_classes=3)
    backbone = MODELS_BY_NAME['mocov3']['backbone']
    single = MODELS.build(dict(type='Classifier', backbone=backbone, head=head)).double()
    path = save(single, tmp_path / 'x.pth')
    model = build('mocov3')
    report = load(model, path)
    assert report.branch == 'both from one'
    for branch in (model.student, model.teacher):
        for key, value in branch.backbone.state_dict().items():
            assert torch.equal(value, single.backbone.state_dict()[key]), key
    assert not any('.backbone.' in key for key in report.missing)


def test_method_without_a_teacher_takes_the_student(tmp_path: Path) -> None:
    moco = build('mocov3')
    path = save(moco, tmp_path / 'x.pth')
    model = build('swav')
    report = load(model, path, part='backbone')
    assert report.missing == []
    for key, value in model.student.backbone.state_dict().items():
        assert torch.equal(value, moco.student.backbone.state_dict()[key])


def test_continuing_from_views_to_regions(tmp_path: Path) -> None:
    """EsViT's second phase: view head, centre and epoch from the file, region head fresh."""
    views = build('esvit', 0, type='DINO')
    path = save(views, tmp_path / 'x.pth', progress=dict(iter=15, per_epoch=5))
    model = build('esvit', 1)
    report = load(model, path)
    assert report.epoch == 3
    fresh = {key for key in model.state_dict() if '.region.' in key or 'region_head' in key}
    # sums of an incomplete update are zero where a file has none
    assert set(report.missing) == fresh - {'region_head.collected'} and len(fresh) == 14
    assert torch.equal(model.head.center, views.head.center)


# small parts --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('content', 'epochs'),
    [
        ({'progress': {'iter': 14, 'per_epoch': 5}}, 2),
        ({'progress': {'iter': 15, 'per_epoch': 5}, 'epoch': 9}, 3),
        ({'epoch': 7}, 7),
        ({'epoch': 'seven'}, None),
        ({}, None),
    ],
)
def test_epochs_behind_a_file(content: dict[str, Any], epochs: int | None) -> None:
    assert epochs_done(content) == epochs


def test_state_of_our_own_files(tmp_path: Path) -> None:
    model = build('moco')
    content = read(save(model, tmp_path / 'x.pth'))
    assert content_state(content, 'x').keys() == model.state_dict().keys()


def test_recorded_model_keeps_float64() -> None:
    model, path = recorded('mocov2_r50_a')
    load(model, path)
    assert model.queue.bank0.dtype == torch.float64
    assert model.queue.pointer.tolist() == [8]
