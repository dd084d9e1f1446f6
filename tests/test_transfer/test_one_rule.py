"""A file gets one answer by every road: `load`, ``pretrained=`` of both routes, and converters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmssl.checkpoint import load
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.cli import extract_backbone, selfsup2mmdet, selfsup2mmseg
from mmssl.core import UserError
from mmssl.transfer.pretrained import start_from

from ..helpers.transfer_nets import NETS, OURS, THEIRS

pytestmark = pytest.mark.transfer
State = dict[str, Tensor]
LIBRARY = {'vit': 'mmseg', 'swin': 'mmdet', 'resnet': 'mmdet'}
CONVERTERS = {'mmdet': selfsup2mmdet, 'mmseg': selfsup2mmseg}
LAYOUT = {'vit': 'timm', 'swin': 'mmdet', 'resnet': 'torchvision'}


def vectors(*names: str) -> State:
    """Tensors of one number that a file has more."""
    return {name: torch.ones(1) for name in names}


def without(state: State, word: str) -> State:
    return {key: value for key, value in state.items() if word not in key}


def mmcls(state: State, norm: State) -> State:
    """A Swin as mmcls writes classifiers: all in ``backbone.``, the last norm by its map."""
    inner = without(state, 'head.') | {f'norm3.{k}': v for k, v in norm.items()}
    inner |= vectors('stages.3.blocks.1.attn_mask', 'stages.0.blocks.0.attn.w_msa.'
                     'relative_position_index')  # fmt: skip
    return {f'backbone.{key}': value for key, value in inner.items()} | vectors('head.fc.weight')


# name: (family, the file's tensors from those of a plain one and its last norm, is it taken)
FILES: dict[str, tuple[str, Callable[[State, State], State], bool]] = {
    'plain': ('vit', lambda s, _: s, True),
    'norm of a head': ('vit', lambda s, _: s | vectors('fc_norm.weight', 'fc_norm.bias'), True),
    'head': ('vit', lambda s, _: s | vectors('head.weight', 'head.bias'), True),
    'decoder': (
        'vit',
        lambda s, _: s | vectors('mask_token', 'decoder_pos_embed', 'decoder_blocks.0.norm1.bias'),
        True,
    ),
    'computed': ('vit', lambda s, _: s | vectors('blocks.0.attn.relative_position_index'), True),
    'segmentor': (
        'vit',
        lambda s, _: {f'backbone.{k}': v for k, v in s.items()} | vectors('decode_head.x'),
        True,
    ),
    'layer scale': ('vit', lambda s, _: s | vectors('blocks.0.ls1.gamma'), False),
    'registers': ('vit', lambda s, _: s | vectors('reg_token'), False),
    'deeper': ('vit', lambda s, _: s | vectors('blocks.4.norm1.weight'), False),
    'no norm in a block': ('vit', lambda s, _: without(s, 'blocks.1.norm2'), False),
    'before counters': ('resnet', lambda s, _: without(s, 'num_batches'), True),
    'squeeze': ('resnet', lambda s, _: s | vectors('layer1.0.se.fc1.weight'), False),
    'detector': (
        'resnet',
        lambda s, _: {f'backbone.{k}': v for k, v in s.items()} | vectors('rpn_head.x', 'neck.0'),
        True,
    ),
    "mmseg's pretraining": (
        'swin',
        lambda s, norm: s
        | {f'norm.{k}': v for k, v in norm.items()}
        | vectors('stages.3.blocks.1.attn_mask'),
        True,
    ),
    'mmcls': ('swin', mmcls, True),
}  # fmt: skip


def written(name: str, path: Path) -> tuple[Path, nn.Module]:
    """Write a file; return it, and a new network of the family that it is for."""
    family, make, _ = FILES[name]
    torch.manual_seed(1)
    net = NETS[family]()
    for parameter in net.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    state = LAYOUTS[LAYOUT[family]].restore(
        {f'backbone.{k}': v for k, v in net.state_dict().items()}
    )
    last = net.net.norm.state_dict() if family != 'resnet' else {}
    torch.save({'state_dict': make(state, last)}, path / 'file.pth')
    return path / 'file.pth', net


def start(file: Path, family: str, route: dict[str, dict], folder: Path) -> dict[str, Any]:
    """Run ``pretrained=file``; return the tensors of the backbone's file in the work dir."""
    folder.mkdir()
    (folder / 'c.py').touch()
    settings = dict(model=dict(backbone=dict(route[family])), pretrained=str(file))
    cfg = Config(dict(settings, work_dir=str(folder)), filename=folder / 'c.py')
    start_from(cfg, LIBRARY[family])
    return cfg


def converted_and_loaded(file: Path, family: str, folder: Path) -> None:
    extract_backbone.main([str(file), str(folder / 'ours.pth')])
    load(NETS[family](), folder / 'ours.pth')


def converted_and_started(file: Path, family: str, folder: Path) -> None:
    CONVERTERS[LIBRARY[family]].main([str(file), str(folder / 'theirs.pth')])
    start(folder / 'theirs.pth', family, THEIRS, folder / 'd')


ROADS: dict[str, Callable[[Path, str, Path], Any]] = {
    'load': lambda file, family, _: load(NETS[family](), file),
    'ours': lambda file, family, folder: start(file, family, OURS, folder / 'd'),
    'theirs': lambda file, family, folder: start(file, family, THEIRS, folder / 'd'),
    'converted, ours': converted_and_loaded,
    'converted, theirs': converted_and_started,
}


@pytest.mark.parametrize('road', ROADS)
@pytest.mark.parametrize('name', FILES)
def test_every_road_answers_alike(name: str, road: str, tmp_path: Path) -> None:
    family, _, taken = FILES[name]
    file, _ = written(name, tmp_path)
    if taken:
        ROADS[road](file, family, tmp_path)
        return
    with pytest.raises(UserError) as caught:
        ROADS[road](file, family, tmp_path)
    assert caught.value.key in ('file', 'target')


@pytest.mark.parametrize('name', [name for name, (*_, taken) in FILES.items() if taken])
def test_what_is_taken_is_the_network(name: str, tmp_path: Path) -> None:
    """Every tensor of the network, and nothing else, is the file's."""
    family = FILES[name][0]
    file, net = written(name, tmp_path)
    other = NETS[family]()
    report = load(other, file)
    assert not report.missing and not report.mismatched
    for key, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
