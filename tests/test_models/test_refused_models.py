"""Models with impossible settings are refused when built; the error names the values."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from mmssl.core import UserError
from mmssl.datasets.transforms import PatchMask
from mmssl.models.queue import Queue
from mmssl.registry import MODELS

from ..helpers.methods import MODELS_BY_NAME, RELATION, RESNET, build, dino, mlp

HEAD = dict(type='ContrastiveHead', temperature=0.2)
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    'no queue': ('moco', dict(queue_length=0), 'queue_length=0: a queue needs at least one key'),
    'no momentum': ('moby', dict(momentum=None), r'MoBY has a teacher: add momentum=dict\(start'),
    'one width': ('mocov3', dict(neck=mlp(32)), r'widths from input to output, got dims=\(32,\)'),
    'shared student': (
        'sere',
        dict(neck=dino(12, patch_prototypes=9, shared=True)),
        'a shared last layer cannot have 10 and 9 prototypes',
    ),
    'shared teacher': (
        'sere',
        dict(neck=dino(12, patch_prototypes=9), teacher_neck=dict(shared=True)),
        'a shared last layer cannot have 10 and 9 prototypes',
    ),
    'local heads': (
        'sere',
        dict(relation=dict(RELATION, local_heads='count')),
        "local_heads 'count' is unknown; use 'kind' or 'official'",
    ),
    'grid': ('sere', dict(relation=dict(RELATION, overlap_size=(1, 3))), 'at least 2 points'),
    'local grid': ('sere', dict(relation=dict(RELATION, local_grid=1)), 'at least 2 points'),
    'temperature key': (
        'esvit',
        dict(teacher_temp=dict(start=0.04, shape='constant', rise=3)),
        "model.teacher_temp: a schedule has no argument 'rise'",
    ),
    'heads of a ViT': (
        'ibot',
        dict(backbone=dict(type='VisionTransformer', arch=(12, 1, 5))),
        'ViT width 12 is not divisible by its 5 heads',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused_when_built(name: str) -> None:
    method, changes, message = REFUSED[name]
    config = deepcopy({**MODELS_BY_NAME[method], **changes})
    with pytest.raises(UserError, match=message):
        MODELS.build(config)


UNFIT: dict[str, tuple[str, dict[str, Any], str]] = {
    'neck width': ('mocov3', dict(neck=mlp(30, 16, 6)), '32.*30|30.*32'),
    'predictor width': ('mocov3', dict(head=dict(HEAD, predictor=mlp(8, 16, 6))), '6.*8|8.*6'),
    'predictor result': ('moby', dict(head=dict(HEAD, predictor=mlp(6, 16, 5))), '6.*5|5.*6'),
    'SwAV width': ('swav', dict(head=dict(type='SwAVHead', dim=5, prototypes=7)), '6.*5|5.*6'),
    'prototypes': (
        'esvit',
        dict(head=dict(type='DistillationHead', prototypes=11)),
        '10.*11|11.*10',
    ),
    'masks on a ConvNet': ('sere', dict(backbone=RESNET), 'ResNet'),
}


@pytest.mark.parametrize('name', UNFIT)
def test_widths_that_do_not_fit(name: str) -> None:
    method, changes, message = UNFIT[name]
    config = deepcopy({**MODELS_BY_NAME[method], **changes})
    with pytest.raises(UserError, match=message):
        MODELS.build(config)


# masks --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(ratio=(0.0, 0.3), var=(0.0, 0.4)), 'mask ratio 0.3 with variance 0.4'),
        (dict(ratio=(0.1, 0.3), var=(0.2, 0.1)), 'mask ratio 0.1 with variance 0.2'),
        (dict(ratio=(1.1,), var=(0.0,)), 'mask ratio 1.1 with variance 0.0'),
        (dict(ratio=(0.3,), var=(-0.1,)), 'mask ratio 0.3 with variance -0.1'),
        (dict(ratio=(0.3,), var=(0.1, 0.2)), r'ratio=\(0.3,\) and var=\(0.1, 0.2\) differ'),
        (dict(shape='ring'), "mask shape 'ring' is unknown; use 'block' or 'rand'"),
    ],
)
def test_mask_that_cannot_be_drawn(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PatchMask(**settings)


# views that come to the model ---------------------------------------------------------------------
@pytest.mark.parametrize('name', MODELS_BY_NAME)
def test_model_given_one_view(name: str) -> None:
    with pytest.raises(UserError, match='needs 2 views, got 1'):
        build(name)([torch.zeros(2, 3, 16, 16).double()], {}, mode='loss')


def test_queue_without_keys() -> None:
    with pytest.raises(UserError, match='queue_length=-3'):
        Queue(4, -3)
