"""What a training file's own settings may build: classes of ours, and nothing else."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import mmssl
from mmssl.cli import extract_backbone
from mmssl.config.pretrained import backbone_of
from mmssl.config.stored_settings import stored_config
from mmssl.registry import MODELS

from ..helpers.refusals import refuses

BACKBONE = dict(type='ResNet', depth=18, layers=(1,), width=4, small_stem=True)
MODEL = dict(type='Encoder', backbone=BACKBONE)


def write(path: Path, model: Any = MODEL, **settings: Any) -> str:
    """Write a training file of an encoder whose settings say ``model``."""
    state = MODELS.build(MODEL).state_dict()
    meta = dict(model='Encoder', settings=dict(model=model, **settings))
    torch.save({'state_dict': state, 'meta': meta}, path)
    return str(path)


def test_a_training_file_is_a_model(tmp_path: Path) -> None:
    pipeline = [dict(type='LoadImage'), dict(type='CenterView', size=24, resize=24)]
    loader = dict(dataset=dict(type='ImageDataset', pipeline=pipeline))
    file = write(tmp_path / 'a.pth', val_dataloader=loader, custom_imports=dict(imports=['x']))
    model = mmssl.get_model(file)
    stored = torch.load(file)['state_dict']
    assert all(torch.equal(stored[k], v) for k, v in model.state_dict().items())
    assert set(model._config) == {'model', 'load_from', 'test_dataloader'}
    assert model._config.test_dataloader.dataset.pipeline[1].size == 24
    assert backbone_of(file) == BACKBONE


@pytest.mark.parametrize('kind', ['os.system', 'tests.helpers.paths.Path', 'mmengine.Config'])
def test_functions_of_others_are_not_called(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'system', lambda **_: pytest.fail('called'))
    evil = dict(type=kind, command='true')
    file = write(tmp_path / 'a.pth', dict(MODEL, backbone=evil))
    with refuses('type', kind):
        mmssl.get_model(file)
    with refuses('type', kind):
        backbone_of(file)
    with refuses('type', kind):
        extract_backbone.main([file, str(tmp_path / 'b.pth')])
    deep = write(tmp_path / 'c.pth', val_dataloader=dict(dataset=dict(pipeline=[evil])))
    with refuses('type', kind):
        stored_config(deep)


@pytest.mark.parametrize('settings', [None, [], {}, {'model': 3}, {'model': {}}])
def test_weights_alone_are_no_model(tmp_path: Path, settings: Any) -> None:
    file = tmp_path / 'a.pth'
    torch.save({'state_dict': {}, 'meta': dict(settings=settings)}, file)
    with refuses('file', str(file)):
        mmssl.get_model(file)


@pytest.mark.parametrize('loader', [3, [], dict(dataset=3), dict(dataset=dict(pipeline=()))])
def test_loaders_of_another_form_are_left_out(tmp_path: Path, loader: Any) -> None:
    cfg = stored_config(write(tmp_path / 'a.pth', test_dataloader=loader))
    assert set(cfg) == {'model', 'load_from'}
