"""Every config of the repository: find, load and build it."""

import functools
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmssl import datasets, engine, evaluation, models  # noqa: F401, they fill the registries
from mmssl.apis import load_config
from mmssl.registry import MODELS

from .paths import REPO

FOLDER = REPO / 'configs'
ALL = sorted(FOLDER.rglob('*.py'))

# the configs under transfer/ are read by mmdet and mmseg
CONFIGS = [p for p in ALL if not {'_base_', 'transfer'} & set(p.relative_to(FOLDER).parts)]
# these train nothing, and are for every network
KNN = FOLDER / 'knn_in1k.py'
KNN_CONFIGS = (KNN, FOLDER / 'knn_mmselfsup_in1k.py')


def name(path: Path) -> str:
    """Return the path below configs/, without its ending."""
    return str(path.relative_to(FOLDER).with_suffix(''))


@functools.cache
def load(path: Path) -> Config:
    """Read a config once; do not change it."""
    return load_config(path)


@functools.cache
def network(path: Path) -> nn.Module:
    """Build a config's model without memory for its weights."""
    with torch.device('meta'):
        found: nn.Module = MODELS.build(load(path).model)
        return found


def find(short: str) -> Path:
    """Return the one config whose name begins with ``short``."""
    found = [p for p in CONFIGS if name(p).startswith(short)]
    assert len(found) == 1, f'{short}: {len(found)} configs'
    return found[0]
