"""`Pretrainer`, the base of all methods, tested on MoCo v3."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mmssl.core import Progress
from mmssl.registry import MODELS

from ..helpers.mocov3 import config

R50 = dict(type='ResNet', depth=50, zero_init_residual=True)
VIT = dict(
    type='VisionTransformer', positions='sincos', init='moco', freeze_patch_embed=True, num_heads=12
)
# published sizes: backbone, projector, whether the predictor ends in a norm, values, trainable
PUBLISHED = {
    'ResNet-50': (R50, (2048, 4096, 256), False, 68_012_160, 35_058_752),
    'ViT-S': (dict(VIT, arch='small'), (384, 4096, 4096, 256), True, 84_266_752, None),
    'ViT-B': (dict(VIT, arch='base'), (768, 4096, 4096, 256), True, 215_678_464, None),
    'ViT-L': (
        dict(VIT, arch='large', num_heads=16), (1024, 4096, 4096, 256), True, 652_781_568, None
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_of_the_published_models(name):
    backbone, dims, last, total, trainable = PUBLISHED[name]
    predictor = dict(type='MLP', dims=(256, 4096, 256), last_norm=last)
    with torch.device('meta'):
        model = MODELS.build(
            config(
                backbone,
                neck=dict(type='MLP', dims=dims, last_norm=True),
                head=dict(type='ContrastiveHead', temperature=0.2, predictor=predictor),
            )
        )
    counts = [p.numel() for p in model.parameters()]
    assert sum(counts) == total
    assert sum(p.numel() for p in model.head.parameters()) == 2_105_344
    if trainable:
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable
    teacher = sum(p.numel() for p in model.teacher.parameters())
    assert 2 * teacher + 2_105_344 == total


def equal(student, teacher):
    own = student.state_dict()
    theirs = teacher.state_dict()
    assert list(own) == list(theirs)
    return all(torch.equal(own[name], theirs[name]) for name in own)


def test_teacher_equals_student_at_the_start():
    model = MODELS.build(config())
    assert equal(model.student, model.teacher)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    model.init_weights()  # as the runner does, once more
    assert equal(model.student, model.teacher)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_teacher_follows_loaded_weights(tmp_path):
    source = MODELS.build(config())
    for parameter in source.parameters():
        parameter.data.normal_()
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'a.pth')
    model = MODELS.build(config())
    model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    model.init_weights()
    assert equal(model.student.backbone, source.student.backbone)
    assert equal(model.student, model.teacher)


def test_loss_is_algorithm_1():
    """Both directions, each 2 T times the cross-entropy over cosines / T, not halved."""
    model = MODELS.build(config()).double()
    for parameter in model.teacher.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    views = [torch.randn(4, 3, 16, 16, dtype=torch.float64) for _ in range(2)]
    q = [F.normalize(model.head.predictor(model.student(v)), dim=1) for v in views]
    k = [F.normalize(model.teacher(v), dim=1) for v in views]
    expected = 0.0
    for a, b in ((0, 1), (1, 0)):
        scores = q[a] @ k[b].T / 0.2
        expected = expected - 2 * 0.2 * scores.log_softmax(1).diagonal().mean()
    losses = model(views, mode='loss')
    assert_close(losses['loss'], expected, rtol=1e-12, atol=1e-12)
    losses['loss'].backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.student.parameters() if p.requires_grad)
    assert model.uniform_loss(4) == pytest.approx(2 * 0.4 * math.log(4), abs=1e-15)


def test_the_teacher_moves_by_the_momentum_of_this_iteration():
    model = MODELS.build(config()).double()
    model.progress = Progress(step=3, total=12, per_epoch=4)
    share = 1 - 0.5 * (1 + math.cos(math.pi * 3 / 12)) * (1 - 0.9)
    assert model.momentum.value_at(*model.progress) == pytest.approx(share, abs=1e-15)
    before = model.teacher.backbone.net.cls_token.clone()
    model.student.backbone.net.cls_token.data += 1
    model.update_teacher()
    after = model.teacher.backbone.net.cls_token
    assert_close(after, before + (1 - share), rtol=1e-12, atol=1e-12)
    assert set(model.schedules()) == {'momentum'}


def test_feature_modes_use_the_exported_side():
    model = MODELS.build(config()).eval()
    x = torch.randn(2, 3, 16, 16)
    assert model.backbone is model.student.backbone
    (token,) = model(x)
    assert_close(token, model.student.backbone.encode(x).pooled, rtol=0, atol=0)
    assert_close(model.encode(x).pooled, token, rtol=0, atol=0)


def test_schedules_need_the_progress_of_a_step():
    model = MODELS.build(config())
    with pytest.raises(RuntimeError, match='begin_step'):
        model.update_teacher()
