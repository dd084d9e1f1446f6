"""Backbone with necks, and the teacher made of it."""

import copy

import pytest
import torch
from timm.layers import DropPath
from torch.testing import assert_close

from mmssl.models.branch import Branch, group_by_size
from mmssl.models.teacher import copy_teacher, make_teacher, update_teacher

MLP = dict(type='MLP', dims=(16, 8, 4), last_norm=True)


def branch(neck=MLP, **backbone):
    vit = dict(type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8)
    return Branch(dict(vit, **backbone), neck)


def views(*sizes, batch=3):
    return [torch.randn(batch, 3, size, size) for size in sizes]


def test_forward_is_the_neck_of_the_pooled_feature():
    net, (x,) = branch(), views(16)
    expected = copy.deepcopy(net).neck['project'](net.backbone.encode(x).pooled)
    assert_close(net(x), expected, rtol=0, atol=0)


def test_multi_crop_makes_one_pass_per_run_of_sizes(monkeypatch):
    net, passes = branch().eval(), []
    net.backbone.pack_crops = False
    encode = net.backbone.encode
    monkeypatch.setattr(net.backbone, 'encode', lambda x, m: passes.append(len(x)) or encode(x, m))
    xs = views(16, 16, 8, 8, 8)
    features = net.encode(xs)
    assert passes == [6, 9]
    for x, feature in zip(xs, features, strict=True):
        assert_close(feature.pooled, encode(x).pooled, rtol=1e-5, atol=1e-6)
        assert feature.grid == (x.shape[-1] // 8,) * 2


def test_project_joins_views_in_one_batch_norm_and_forward_does_not():
    net = branch()
    xs = [torch.randn(3, 16), 5 + torch.randn(3, 16)]
    joint = copy.deepcopy(net).neck['project'](torch.cat(xs))
    assert_close(torch.cat(net.project('project', xs)), joint, rtol=0, atol=0)
    apart = torch.cat([copy.deepcopy(net).neck['project'](x) for x in xs])
    assert (joint - apart).abs().max() > 0.1


def test_project_of_tokens_keeps_their_places():
    net = branch({'one': MLP, 'two': dict(MLP, dims=(16, 4))}).eval()
    xs = [torch.randn(2, 4, 16), torch.randn(2, 9, 16)]
    for name in ('one', 'two'):
        for x, y in zip(xs, net.project(name, xs), strict=True):
            expected = torch.stack([net.neck[name](image) for image in x])
            assert_close(y, expected, rtol=1e-5, atol=1e-6)


def test_a_teacher_is_a_copy_without_gradient_and_drop_path():
    student = branch(drop_path_rate=0.3).train()
    rates = [m.drop_prob for m in student.modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.3)
    teacher = make_teacher(student)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert {m.drop_prob for m in teacher.modules() if isinstance(m, DropPath)} == {0.0}
    assert all(m.training for m in teacher.modules())
    assert [m.drop_prob for m in student.modules() if isinstance(m, DropPath)] == rates
    for a, b in zip(student.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()


def test_moving_is_the_loop_over_parameters_and_leaves_buffers():
    student = branch().double()
    teacher = make_teacher(student)
    for parameter in student.parameters():
        parameter.data.normal_()
    student(views(16)[0].double())  # moves the student's running statistics
    before = {n: v.clone() for n, v in teacher.state_dict().items()}
    update_teacher(student, teacher, 0.9)
    own = dict(student.named_parameters())
    for name, value in teacher.state_dict().items():
        expected = before[name]
        if name in own:
            expected = 0.9 * expected + (1 - 0.9) * own[name].detach()
        assert_close(value, expected, rtol=1e-14, atol=1e-15, msg=name)


def test_moving_skips_what_the_teacher_lacks():
    student = branch({'project': MLP, 'extra': MLP})
    teacher = make_teacher(student)
    del teacher.neck['extra']
    copies = copy.deepcopy(teacher)
    student.backbone.net.cls_token.data += 1
    update_teacher(student, teacher, 0.5)
    moved = {
        n
        for (n, a), b in zip(teacher.named_parameters(), copies.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert moved == {'backbone.net.cls_token'}
    copy_teacher(student, teacher)
    assert torch.equal(teacher.backbone.net.cls_token, student.backbone.net.cls_token)


def test_copying_takes_buffers_too():
    student = branch()
    teacher = make_teacher(student)
    student(views(16)[0])
    student.backbone.net.cls_token.data += 1
    copy_teacher(student, teacher)
    for name, value in student.state_dict().items():
        assert torch.equal(teacher.state_dict()[name], value), name


def test_views_are_grouped_by_consecutive_equal_widths():
    views = [torch.full((2, 3, s, s), float(i)) for i, s in enumerate((8, 8, 4, 4, 4, 8))]
    groups = group_by_size(views)
    assert [[int(v[0, 0, 0, 0]) for v in group] for group in groups] == [[0, 1], [2, 3, 4], [5]]
