"""The small transfer configs: named after their content, and their models build."""

import re

import pytest
from mmengine.registry import MODELS, DefaultScope

from mmssl.apis import load_config
from mmssl.transfer import library_of
from mmssl.transfer.settings import read_transfer_config

from ..helpers.transfer_nets import SMALL

CONFIGS = sorted(SMALL.glob('*.py'))
PRETRAINING = [path for path in CONFIGS if library_of(path) is None]


@pytest.mark.parametrize('path', PRETRAINING, ids=lambda p: p.stem)
def test_the_pretraining_is_read(path):
    cfg = load_config(path)
    assert f'-{cfg.train_cfg.max_epochs}e_' in path.stem
    assert f'_1xb{cfg.train_dataloader.batch_size}-' in path.stem


@pytest.mark.transfer
@pytest.mark.parametrize('path', sorted({*CONFIGS} - {*PRETRAINING}), ids=lambda p: p.stem)
def test_the_model_builds_and_the_name_says_how_long(path):
    cfg = read_transfer_config(str(path), {})
    length = cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters
    number, unit = re.search(r'_(\d+)(e|i|k)_', path.stem).groups()
    assert length == int(number) * {'e': 1, 'i': 1, 'k': 1000}[unit]
    with DefaultScope.overwrite_default_scope(library_of(path)):
        model = MODELS.build(cfg.model)
    metainfo = cfg.val_dataloader.dataset.metainfo
    head = model.roi_head.bbox_head if hasattr(model, 'roi_head') else model.decode_head
    assert head.num_classes == len(metainfo.classes)
    assert cfg.pretrained is None
