"""Refusals of mmssl.transfer, without mmdet and mmseg: each error has its key and value."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmssl.transfer import SimpleFPN
from mmssl.transfer.data_checks import check_data, move_data
from mmssl.transfer.network_settings import check_method
from mmssl.transfer.runner import load_matching

from ..helpers.refusals import refuses


def check(**metric: Any) -> None:
    """Check the data of a config that has an evaluator alone."""
    check_data(Config(dict(val_evaluator=[dict(type='CocoMetric', **metric)])))


# id: (what is called, key, value, a fact that the message names)
CASES: dict[str, tuple[Callable[[], Any], str, Any, str]] = {
    'scales': (lambda: SimpleFPN(8, scales=(3,)), 'SimpleFPN.scales', 3, '4, 2, 1, 0.5'),
    'num_outs': (lambda: SimpleFPN(8, num_outs=3), 'SimpleFPN.num_outs', 3, '4 scales'),
    'maps': (lambda: SimpleFPN(8)([torch.zeros(1, 8, 4, 4)] * 2), 'maps', 2, 'out_indices'),
    'data_root': (lambda: move_data(Config(dict(a=1)), '/new'), 'data_root', '/new', ''),
    'list': (lambda: check(ann_file='/gone/a.json'), 'file', '/gone/a.json', 'val_evaluator'),
    'folder': (lambda: check(ann_file='/gone/a'), 'folder', '/gone/a', 'val_evaluator'),
    'method': (lambda: check_method('moby', 'f', 'swav'), '--selfsup', 'swav', 'moby'),
    'backbone of another model': (
        lambda: load_matching(
            nn.ModuleDict({'backbone': nn.Linear(2, 2), 'head': nn.Linear(2, 2)}),
            {'backbone.weight': torch.ones(2, 2)}, 'f', whole=False,
        ),
        'file', 'f', '1 of its 4 tensors are not in it (backbone.bias, ...)',
    ),
    'head of another model': (
        lambda: load_matching(nn.Linear(2, 2), {'weight': torch.ones(2, 2)}, 'f', whole=True),
        'file', 'f', '1 of its 2 tensors are not in it (bias, ...)',
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_key_and_value_are_named(name: str) -> None:
    call, key, value, fact = CASES[name]
    with refuses(key, value) as caught:
        call()
    assert fact in str(caught.value)


def test_a_detector_from_before_counters_of_batch_norms_is_whole() -> None:
    model = nn.ModuleDict({'backbone': nn.BatchNorm2d(2), 'head': nn.Linear(2, 2)})
    state = {key: torch.full_like(value, 3.0) for key, value in model.state_dict().items()}
    del state['backbone.num_batches_tracked']
    line = load_matching(model, state, 'f', whole=True)
    assert line == 'loaded f: 6 of 7 tensors'
    for key in state:
        assert torch.equal(model.state_dict()[key], state[key]), key


def test_a_file_of_the_method_or_of_one_network_passes() -> None:
    for layout, method in (('moby', 'moby'), ('timm', 'swav'), ('moby', None)):
        check_method(layout, 'f', method)
