"""Configs as other habits write them: YAML, JSON, classes for types, read_base, and broken ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmssl.apis import load_config
from mmssl.config.load import read_config_file

from ..helpers.paths import REPO
from ..helpers.refusals import refuses

BASE = REPO / 'configs' / 'quickstart' / 'mocov3_vit-conv_1xb64-32e_shapes.py'
CLASSES = """
from torch.optim import SGD

from mmssl.datasets import ImageDataset
from mmssl.datasets.transforms import LoadImage, MultiView, RandomView
from mmssl.engine import EpochLoop, OptimWrapper, ScheduleParam
from mmssl.models.algorithms import MoCoV3
from mmssl.models.backbones import ResNet
from mmssl.models.heads import ContrastiveHead
from mmssl.models.necks import MLP

view = dict(type=RandomView, size=16)
pipeline = [dict(type=LoadImage), dict(type=MultiView, views=[view, view])]
train_dataloader = dict(batch_size=8, dataset=dict(type=ImageDataset, pipeline=pipeline))
model = dict(
    type=MoCoV3,
    backbone=dict(type=ResNet, depth=18, width=4),
    neck=dict(type=MLP, dims=(32, 16, 8)),
    head=dict(type=ContrastiveHead, temperature=0.2, predictor=dict(type=MLP, dims=(8, 8))),
    momentum=dict(start=0.99, final=1.0))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=1e-3))
param_scheduler = [dict(type=ScheduleParam, param_name='lr', final=0.0)]
train_cfg = dict(type=EpochLoop, max_epochs=1)
"""
HEIR = """
from mmengine.config import read_base

with read_base():
    from .classes import *

train_cfg.update(max_epochs=2)
"""


@pytest.mark.parametrize('ending', ['yml', 'json'])
def test_other_formats(tmp_path: Path, ending: str) -> None:
    content = dict(_base_=str(BASE), train_cfg=dict(max_epochs=3), data_root='elsewhere')
    path = tmp_path / f'config.{ending}'
    path.write_text(yaml.dump(content) if ending == 'yml' else json.dumps(content))
    options = {'train_cfg.max_epochs': 3, 'data_root': 'elsewhere'}
    assert load_config(path).to_dict() == load_config(BASE, options).to_dict()


def test_classes_for_types_and_read_base(tmp_path: Path) -> None:
    (tmp_path / 'classes.py').write_text(CLASSES)
    (tmp_path / 'heir.py').write_text(HEIR)
    cfg, heir = load_config(tmp_path / 'classes.py'), load_config(tmp_path / 'heir.py')
    assert heir.train_cfg.to_dict() == dict(type='EpochLoop', max_epochs=2)
    assert cfg.model.to_dict() == heir.model.to_dict()
    types = (cfg.model.type, cfg.model.head.predictor.type, cfg.optim_wrapper.optimizer.type)
    assert types == ('MoCoV3', 'MLP', 'SGD')
    assert 'pipeline' not in cfg
    assert 'view' not in heir
    assert heir.default_hooks.checkpoint.type == 'CheckpointHook'  # over our defaults


def test_values_of_classes_are_checked(tmp_path: Path) -> None:
    path = tmp_path / 'classes.py'
    path.write_text(CLASSES.replace('depth=18', "depth='18'"))
    with refuses('model.backbone.depth', '18'):
        load_config(path)
    path.write_text(CLASSES.replace('type=SGD', 'type=dict'))
    with refuses('optim_wrapper.optimizer.type', 'dict'):
        load_config(path)


BROKEN: list[tuple[str, bytes, str]] = [
    ('its own base', b"_base_ = './x.py'", 'its own base'),
    ('byte order mark', b'\xef\xbb\xbftrain_cfg = None', 'byte order mark'),
    ('no package', b"_base_ = 'mmssl_gone::x.py'", 'relative config path'),
]


@pytest.mark.parametrize(('name', 'content', 'words'), BROKEN, ids=[row[0] for row in BROKEN])
def test_broken_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / 'x.py'
    path.write_bytes(content)
    with refuses('file', str(path)) as caught:
        read_config_file(path)
    assert words in str(caught.value)


def test_a_package_that_is_not_installed(tmp_path: Path, monkeypatch: Any) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, 'No such file', '/x/mmssl/.mim/model-index.yml')

    monkeypatch.setattr('mmssl.config.load.Config.fromfile', gone)
    with refuses('file', str(tmp_path)) as caught:
        read_config_file(tmp_path)
    assert 'pip install -e .' in str(caught.value)
