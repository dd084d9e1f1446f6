"""Recognise the kind of a file, and choose its branch."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.checkpoint import load
from mmssl.checkpoint.export import network
from mmssl.models.backbones import ResNet, SwinTransformer, VisionTransformer

from ..helpers.classifiers import RESNET, WHOLE, classifier, saved
from ..helpers.methods import build
from ..helpers.refusals import refuses

NECK = dict(type='MLP', dims=(128, 8, 6), last_norm=True)
NETS = {
    'ResNet': ResNet,
    'VisionTransformer': VisionTransformer,
    'SwinTransformer': SwinTransformer,
}


def bare(net: dict[str, Any]) -> Any:
    settings = dict(net)
    return NETS[settings.pop('type')](**settings)


@pytest.mark.parametrize('name', [n for n in WHOLE if 'linear' in n])
def test_a_linear_file_is_no_encoder(name: str, tmp_path: Path) -> None:
    """People take MoCo v3's linear files for its pretraining files."""
    _, path = saved(name, tmp_path / 'x.pth')
    kind = f'linear classifier on a frozen network ({WHOLE[name][1]})'
    with refuses('file', str(path)) as caught:
        load(bare(WHOLE[name][0]), path)
    assert kind in str(caught.value)
    with refuses('file', str(path)) as caught:
        load(classifier(WHOLE[name][0]), path, part='backbone')
    assert kind in str(caught.value)
    method = (
        build('mocov3', backbone=RESNET, neck=NECK) if WHOLE[name][0] is RESNET else build('ibot')
    )
    with refuses('file', str(path)) as caught:
        load(method, path)
    assert kind in str(caught.value)


def test_a_supervised_network_is_an_encoder(tmp_path: Path) -> None:
    source, path = saved('torchvision', tmp_path / 'x.pth')
    method = build('mocov3', backbone=RESNET, neck=NECK)
    report = load(method, path)
    assert report.branch == 'both from one'
    assert report.dropped == ['fc.weight', 'fc.bias']
    for branch in (method.student, method.teacher):
        ours = branch.backbone.state_dict()
        assert all(torch.equal(v, ours[k]) for k, v in source.backbone.state_dict().items())


def test_one_side_for_both(tmp_path: Path) -> None:
    source = build('moby', 1)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'x.pth')
    model = build('moby', 2)
    report = load(model, tmp_path / 'x.pth', branch='teacher')
    assert report.branch == 'both from one'
    wanted = source.teacher.state_dict()
    for branch in (model.student, model.teacher):
        assert all(torch.equal(v, wanted[k]) for k, v in branch.state_dict().items())
    assert torch.equal(model.queue.bank0, source.queue.bank0)


def test_the_file_of_a_method_without_teacher_fills_both(tmp_path: Path) -> None:
    source = build('swav', 1)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'x.pth')
    model = build('mocov3', 2)
    assert load(model, tmp_path / 'x.pth', part='backbone').branch == 'both from one'
    wanted = source.student.backbone.state_dict()
    for branch in (model.student, model.teacher):
        ours = branch.backbone.state_dict()
        assert all(torch.equal(v, ours[k]) for k, v in wanted.items())


@pytest.mark.parametrize('said', [True, False])
def test_our_own_files_export_the_right_side(said: bool, tmp_path: Path) -> None:
    source = build('dino', 1)
    content = {'state_dict': source.state_dict(), 'meta': dict(export='student') if said else {}}
    torch.save(content, tmp_path / 'x.pth')
    net = bare(dict(type='VisionTransformer', arch=(12, 2, 2), img_size=16, patch_size=4,
                    mlp_ratio=2)).double()  # fmt: skip
    report = load(net, tmp_path / 'x.pth')
    assert report.branch == ('student' if said else 'teacher')
    wanted = getattr(source, report.branch).backbone.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        ({'state_dict': {'rpn_head.rpn_cls.weight': 0, 'roi_head.bbox_head.fc_cls.weight': 0}},
         'detector (roi_head, rpn_head)'),
        ({'model': {'backbone.bottom_up.x': 0, 'roi_heads.x': 0}}, 'model.backbone.bottom_up.x'),
        ({'state_dict': {'module.decode_head.conv_seg.weight': 0}},
         'segmentation network (decode_head)'),
        ({'queue': 0}, "SwAV's queue"),
        ({'student': {}, 'step': 3}, 'student, step'),
    ],
)  # fmt: skip
def test_files_of_another_kind_are_named(
    content: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    text = json.dumps(content)
    filled = json.loads(text, object_hook=lambda d: {
        k: torch.zeros(2) if v == 0 else v for k, v in d.items()
    })  # fmt: skip
    torch.save(filled, tmp_path / 'x.pth')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(bare(RESNET), tmp_path / 'x.pth')
    assert kind in str(caught.value)


@pytest.mark.parametrize(
    'extra',
    [
        dict(optimizer=dict(param_groups=3)),
        dict(optimizer=dict(param_groups=[dict(params=7), 5])),
        dict(optimizer=dict(optimizer='x')),
        dict(progress=dict(iter='a', per_epoch=0)),
        dict(meta=dict(export=['x'])),
        dict(meta='text', epoch='text'),
    ],
)
def test_senseless_entries_beside_the_weights(extra: dict[str, Any], tmp_path: Path) -> None:
    source = classifier(RESNET, 5)
    torch.save({'state_dict': source.state_dict(), **extra}, tmp_path / 'x.pth')
    model = classifier(RESNET, 6)
    assert load(model, tmp_path / 'x.pth').epoch is None
    assert torch.equal(model.head.fc.weight, source.head.fc.weight)


def test_a_merging_of_another_shape(tmp_path: Path) -> None:
    state = {'stages.0.blocks.0.attn.w_msa.qkv.weight': torch.ones(2, 2)}
    state['stages.0.downsample.reduction.weight'] = torch.ones(2, 7)
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    with refuses('stages.0.downsample.reduction.weight', (2, 7)):
        load(bare(RESNET), tmp_path / 'x.pth')


@pytest.mark.parametrize('root', ['state_dict', 'model', ''])
@pytest.mark.parametrize(
    ('wrap', 'head'), [('', 'rpn_head.x'), ('module.', 'decode_head.conv_seg.weight')]
)
def test_the_backbone_of_a_detector_is_taken_and_the_heads_are_said(
    root: str, wrap: str, head: str, tmp_path: Path
) -> None:
    net = bare(dict(RESNET))
    state = {f'{wrap}backbone.{k.removeprefix("net.")}': v for k, v in net.state_dict().items()}
    state |= {f'{wrap}{head}': torch.ones(1), f'{wrap}neck.0.weight': torch.ones(1)}
    torch.save({root: state} if root else state, tmp_path / 'x.pth')
    other = bare(RESNET)
    report = load(other, tmp_path / 'x.pth')
    assert report.unexpected == report.dropped == []
    for word in (head.partition('.')[0], 'other 2 tensors', 'load_from'):
        assert word in report.note
    found = network(tmp_path / 'x.pth')
    assert found.notes == [report.note]
    for key, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
        assert torch.equal(found.state[key], value), key
