"""Scenes, configs and pretraining files small enough to train detectors on in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ..helpers.transfer_nets import NETS, SMALL


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 4 + 2 scenes of 64 px with COCO's lists and label maps."""
    from mmssl.cli.make_shapes import write_scenes

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
