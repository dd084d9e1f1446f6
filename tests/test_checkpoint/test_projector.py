"""The first layer of a projector, from files of every layout that has one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from mmssl.checkpoint import load
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.core import UserError
from mmssl.registry import MODELS

from ..helpers.refusals import refuses

VIT = dict(type='VisionTransformer', arch=(8, 2, 2), img_size=32, patch_size=8)
TEMP = dict(start=0.04, shape='constant')


def pretraining(method: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    net = dict(VIT, arch=(8, 2, 2))
    neck = dict(type='DINONeck', dims=(8, 12, 6), prototypes=9, shared=method == 'iBOT')
    head = dict(type='DistillationHead', prototypes=9, student_temp=0.1)
    model = MODELS.build(
        dict(type=method, backbone=net, neck=neck, head=head, teacher_temp=TEMP,
             momentum=dict(start=0.9, shape='constant'))
    )  # fmt: skip
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor.data)
    return model


def file_of(model: Any, layout: str, folder: Path) -> Path:
    """Write a file of a layout: our own, or the sections of an official one."""
    state = model.state_dict()
    content: dict[str, Any] = dict(state_dict=state, meta=dict(export='teacher'))
    if layout != 'mmssl':
        content = {}
        for key, value in LAYOUTS[layout].restore(state).items():
            section, _, name = key.partition('.')
            content.setdefault(section, {})[name] = value
    path = folder / f'{layout}.pth'
    torch.save(content, path)
    return path


def classifier(path: Path | None, hidden: int = 12, **init: str) -> Any:
    start = dict(type='Pretrained', checkpoint=str(path), **init)
    backbone = dict(VIT, init_cfg=start if path else None)
    head = dict(type='ProjectorHead', hidden=hidden, num_classes=3)
    return MODELS.build(dict(type='Classifier', backbone=backbone, head=head))


@pytest.mark.parametrize('branch', ['teacher', 'student'])
@pytest.mark.parametrize(
    ('method', 'layout'),
    [('DINO', 'dino'), ('iBOT', 'ibot'), ('DINO', 'mmssl'), ('iBOT', 'mmssl')],
)
def test_the_branch_gives_backbone_and_layer(method, layout, branch, tmp_path):
    source = pretraining(method)
    path = file_of(source, layout, tmp_path)
    model = classifier(path, **({} if branch == 'teacher' else dict(branch=branch)))
    model.init_weights()
    first = getattr(source, branch).neck.view.mlp[0]
    assert_close(model.head.first.weight, first.weight)
    assert_close(model.head.first.bias, first.bias)
    x = torch.randn(2, 3, 32, 32)
    seen = getattr(source, branch).eval().neck.view.mlp[:2](model.eval().backbone.encode(x).pooled)
    assert_close(model.extract_feat(x, 'pre_logits'), seen)
    assert_close(model(x), model.head.fc(seen))


def test_a_classifier_file_has_the_layer_too(tmp_path):
    trained, other = classifier(None), classifier(None)
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'trained.pth')
    assert not torch.equal(other.head.first.weight, trained.head.first.weight)
    load(other, tmp_path / 'trained.pth')
    assert_close(other.state_dict(), trained.state_dict(), rtol=0, atol=0)


def test_files_without_this_layer_are_refused(tmp_path):
    source = pretraining('iBOT')
    path = file_of(source, 'ibot', tmp_path)
    with refuses('model.head.hidden', 16):
        classifier(path, hidden=16).init_weights()
    alone = {f'backbone.{k}': v for k, v in source.teacher.backbone.state_dict().items()}
    torch.save(dict(state_dict=alone), tmp_path / 'backbone.pth')
    with refuses('model.head.hidden', 12):
        classifier(tmp_path / 'backbone.pth').init_weights()
    plain = dict(
        state_dict={k: v for k, v in classifier(None).state_dict().items() if '.first' not in k}
    )
    torch.save(plain, tmp_path / 'plain.pth')
    with pytest.raises(UserError) as told:
        load(classifier(None), tmp_path / 'plain.pth')
    assert told.value.key == 'file'
