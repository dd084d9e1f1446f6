"""Scenes, configs and pretraining files small enough to train detectors on in seconds."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmssl.models.backbones import ResNet, SwinTransformer, VisionTransformer

from ..conftest import REPO

SMALL = REPO / 'configs' / 'transfer' / 'small'
SWIN = dict(arch=(12, (1, 1, 1, 2), (1, 1, 2, 4)), window_size=4, img_size=128)
VIT = dict(arch=(24, 4, 3), img_size=64, patch_size=8)
RESNET = dict(depth=18, width=8)
NETS: dict[str, Callable[..., nn.Module]] = {
    'swin': lambda **more: SwinTransformer(**SWIN, **more),
    'vit': lambda **more: VisionTransformer(**VIT, **more),
    'resnet': lambda **more: ResNet(**RESNET, **more),
}


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 4 + 2 scenes of 64 px with COCO's lists and label maps."""
    sys.path.insert(0, str(REPO / 'tools' / 'dataset_tools'))
    from make_shapes import write_scenes

    root = tmp_path_factory.mktemp('shapes') / 'scenes'
    write_scenes(root, 64, 4, 2, 0, False)
    return root


@pytest.fixture(scope='session')
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a file of ours with a random network of a kind, whose norms differ from new ones."""
    folder = tmp_path_factory.mktemp('pretrained')

    def write(kind: str) -> Path:
        file = folder / f'{kind}.pth'
        if not file.exists():
            torch.manual_seed(1)
            net = NETS[kind]()
            for parameter in net.parameters():
                parameter.data += 0.02 * torch.randn_like(parameter)
            state = {f'backbone.{k}': v for k, v in net.state_dict().items()}
            torch.save({'state_dict': state}, file)
        return file

    return write


@pytest.fixture
def write_config(tmp_path: Path, scenes: Path) -> Callable[..., Path]:
    """Return a function that writes a config over one of configs/transfer/small."""

    def write(base: str, name: str = 'tiny', **model: Any) -> Path:
        file = tmp_path / f'{name}.py'
        keys = ('train_dataloader', 'val_dataloader', 'test_dataloader')
        loaders = ''.join(f'{k} = dict(num_workers=0, persistent_workers=False)\n' for k in keys)
        file.write_text(f'_base_ = {str(SMALL / base)!r}\n{loaders}model = {model!r}\n')
        return file

    return write
