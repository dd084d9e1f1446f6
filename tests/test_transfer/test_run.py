"""tools/train.py and tools/test.py on configs of mmdet and mmseg, as a user calls them."""

import json
import re
import shutil

import pytest
import torch

from mmssl.checkpoint import read

from ..test_tools.command import call, refused, start
from .conftest import RESNET, SWIN, VIT

pytestmark = pytest.mark.transfer
DETECTOR, SEGMENTOR = 'mask-rcnn_vit-conv_simple-fpn_8e_shapes.py', 'fpn_vit-conv_300i_shapes.py'
TWO = ('train_cfg.max_epochs=1', 'train_dataloader.batch_size=2', 'default_hooks.logger.interval=1')
TWO_IT = ('train_cfg.max_iters=2', 'train_dataloader.batch_size=2')
TWO_IT += ('default_hooks.logger.interval=1', 'default_hooks.checkpoint.interval=2')
TWO_IT += ('train_cfg.val_interval=2',)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Forget the pictures' writers of the run before: a new process would not know them."""
    from mmdet.visualization import DetLocalVisualizer
    from mmseg.visualization import SegLocalVisualizer

    for kind in (DetLocalVisualizer, SegLocalVisualizer):
        kind._instance_dict.clear()


def train(capsys, config, work_dir, scenes, pretrain, *options):
    done = call(
        capsys, config, '--work-dir', work_dir, '--cfg-options', f'data_root={scenes}',
        f'pretrain={pretrain}', *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    return done


