"""The config and the weights of a tiny kNN evaluation."""

from pathlib import Path

import torch

from mmssl.registry import MODELS

from .paths import REPO

CONFIG = """
_base_ = '{repo}/configs/_base_/knn.py'
data_root = '{data}'
test_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(pipeline=[
    dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]))
test_cfg = dict(k=(5, 1))
model = dict(backbone=dict(
    type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8))
"""


def write_knn(folder: Path, data: Path) -> Path:
    """Write the config of a tiny kNN; return its path."""
    path = folder / 'tiny_knn.py'
    path.write_text(CONFIG.format(repo=REPO, data=data))
    return path


def weights(path: Path, seed: int = 0) -> Path:
    """Write a file of random weights of the tiny network."""
    torch.manual_seed(seed)
    net = MODELS.build(dict(type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8))
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in net.state_dict().items()}}, path)
    return path
