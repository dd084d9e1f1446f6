"""Backbones under other libraries' names: the foreign network gives our features."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from timm.layers import gen_relative_position_index
from torch import nn
from torch.nn import functional as F

from mmssl.checkpoint import read
from mmssl.checkpoint.architecture import sizes
from mmssl.checkpoint.export import TARGETS, export, network
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.checkpoint.layouts.tensor_ops import OPS
from mmssl.checkpoint.resize import resize_table
from mmssl.models.backbones import SwinTransformer

from ..helpers.paths import GOLDEN, REPO

sys.path.insert(0, str(REPO / 'tools' / 'dev'))
import weights_table as table

from ..helpers.refusals import refuses

pytestmark = pytest.mark.slow


def cells() -> Iterator[Any]:
    """Every source to us, every network and EsViT's Swin everywhere; the rest marked slow."""
    for layout, kind in table.ROWS:
        for target in table.LIBRARIES:
            if layout == 'mmdet' and target in ('mmssl', 'timm'):
                continue  # mmdet keeps no last norm
            fast = target == 'mmssl' or layout == 'mmssl' or (layout, kind) == ('esvit', 'swin')
            marks = [] if fast else [pytest.mark.slow]
            if target in ('mmdet', 'mmseg'):
                marks.append(pytest.mark.transfer)
            yield pytest.param(layout, kind, target, marks=marks, id=f'{layout}-{kind}-{target}')


@pytest.mark.parametrize(('layout', 'kind', 'target'), list(cells()))
def test_foreign_network_gives_our_features(
    layout: str, kind: str, target: str, tmp_path: Path
) -> None:
    """From a file in the layout, branch and all; odd sizes for ResNet and OpenMMLab's Swin."""
    net = table.write(layout, kind, tmp_path / 'x.pth')
    assert network(tmp_path / 'x.pth').layout == layout
    found = table.difference(tmp_path / 'x.pth', target, net, layout)
    if kind in TARGETS[target]:
        assert found is not None and found < 1e-9
    else:
        with refuses('target', target):
            export(network(tmp_path / 'x.pth').state, target)


# recorded files -----------------------------------------------------------------------------------
def dense(net: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Maps of mmdet's or mmseg's network."""
    with torch.no_grad():
        return list(net(image))


@pytest.mark.transfer
@pytest.mark.parametrize('target', ['mmdet', 'mmseg'])
def test_recorded_transfer(target: str) -> None:
    """The official detection backbone on MoBY's file, 70 x 93 px (golden moby_transfer_a)."""
    folder = GOLDEN / 'moby_transfer_a'
    found = network(folder / 'official.pth')
    state = export(found.state, target).state
    net = table._openmmlab(target, sizes(found.state), 'swin', 1e-5)
    table.fill(net, state, target, 'swin')
    expect, batch = (load_file(folder / f'{n}.safetensors') for n in ('expect', 'batch'))
    for i, ours in enumerate(dense(net, batch['image_det'].double())):
        wanted = expect[f'det.stage_{i}']
        assert float((ours - wanted).abs().max() / wanted.abs().max()) < 1e-9


def test_recorded_transfer_in_our_dense_mode_and_timm() -> None:
    folder = GOLDEN / 'moby_transfer_a'
    found = network(folder / 'official.pth')
    expect, batch = (load_file(folder / f'{n}.safetensors') for n in ('expect', 'batch'))
    net = SwinTransformer(
        (12, (1, 2, 2, 1), (1, 2, 4, 4)), img_size=64, patch_size=2, window_size=4,
        out_indices=(0, 1, 2, 3),
    ).double().eval()  # fmt: skip
    net.load_state_dict(found.state)
    for i, ours in enumerate(dense(net, batch['image_det'].double())):
        normed = F.layer_norm(ours.movedim(1, -1), ours.shape[1:2]).movedim(-1, 1)
        assert table.relative(normed, expect[f'det.stage_{i}']) < 1e-9
    other = table.theirs(
        'timm', export(found.state, 'timm').state, sizes(found.state), 'swin', 1e-5
    )
    table.fill(other, export(found.state, 'timm').state, 'timm', 'swin')
    with torch.no_grad():
        found = other(batch['image_cls'].double())
    assert table.relative(found, expect['cls.feat_online']) < 1e-9
    assert table.relative(found, expect['cls.feat_target']) > 1e-3


def test_keys_of_mmdets_own_converter_without_the_head() -> None:
    folder = GOLDEN / 'mocov2_r50_a'
    theirs = json.loads((folder / 'mmdet_converted.json').read_text())['state_dict_shapes']
    state = export(network(folder / 'official.pth').state, 'mmdet').state
    wanted = {k: tuple(v) for k, v in theirs.items() if not k.startswith('fc.')}
    assert {k: tuple(v.shape) for k, v in state.items()} == wanted
    file = read(folder / 'official.pth')['state_dict']
    assert all(torch.equal(v, file[f'module.encoder_q.{k}']) for k, v in state.items())


@pytest.mark.parametrize(
    ('case', 'branch', 'layout'),
    [
        ('mocov2_r50_a', 'student', 'mocov2'),
        ('mocov3_vit_a', 'student', 'mocov3'),
        ('swav_r50_a', 'student', 'swav'),
        ('moby_swin_a', 'student', 'moby'),
        ('esvit_swin_vr_a', 'teacher', 'esvit'),
        ('esvit_cvt_a', 'teacher', 'esvit'),
        ('esvit_vil_a', 'teacher', 'esvit'),
        ('sere_vit_a', 'teacher', 'sere'),
    ],
)
def test_side_and_layout_of_recorded_files(case: str, branch: str, layout: str) -> None:
    found = network(GOLDEN / case / 'official.pth')
    assert (found.branch, found.layout) == (branch, layout)
    other = {'student': 'teacher', 'teacher': 'student'}[branch]
    if layout == 'swav':
        with refuses('branch', other):
            network(GOLDEN / case / 'official.pth', branch=other)
    else:
        twin = network(GOLDEN / case / 'official.pth', branch=other).state
        assert any(not torch.equal(v, twin[k]) for k, v in found.state.items() if k in twin)


# parts --------------------------------------------------------------------------------------------
def test_merging_order_is_that_of_unfold() -> None:
    """A patch merging over torch's unfold and one over four slices are the same map."""
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    sliced = torch.cat([x[..., r::2, c::2] for r, c in ((0, 0), (1, 0), (0, 1), (1, 1))], 1)
    unfolded = F.unfold(x, 2, stride=2).unflatten(2, (2, 3))
    weight = torch.randn(5, 12, dtype=torch.float64)
    ours = torch.einsum('oc,bchw->bohw', weight, sliced)
    theirs = torch.einsum('oc,bchw->bohw', OPS['merging'].to_foreign(weight), unfolded)
    assert float((ours - theirs).abs().max()) < 1e-14


@pytest.mark.parametrize('name', OPS)
def test_operations_have_inverses(name: str) -> None:
    for x in (torch.arange(24.0), torch.arange(120.0).view(5, 24)):
        there = OPS[name].to_ours(x)
        assert torch.equal(OPS[name].to_foreign(there), x)
        assert torch.equal(OPS[name].to_ours(OPS[name].to_foreign(x)), x)
        assert (name == '') == torch.equal(there, x)


def test_position_index_is_the_official_one() -> None:
    file = read(GOLDEN / 'moby_transfer_a' / 'official.pth')['model']
    stored = file['encoder.layers.0.blocks.0.attn.relative_position_index']
    assert torch.equal(gen_relative_position_index((4, 4)), stored)


@pytest.mark.parametrize('window', [1, 2, 4, 7, 12, 14])
def test_position_index_is_the_row_of_the_offset(window: int) -> None:
    """Row (y + w - 1) (2 w - 1) + (x + w - 1) for the offset (y, x) of query and key."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')
    y, x = y.flatten(), x.flatten()
    rows = y[:, None] - y[None] + window - 1
    columns = x[:, None] - x[None] + window - 1
    expected = rows * (2 * window - 1) + columns
    assert torch.equal(gen_relative_position_index((window, window)), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize(('old', 'new'), [(2, 4), (4, 2), (7, 7), (7, 12), (7, 14), (12, 7)])
def test_tables_are_resized_as_esvit_does(old: int, new: int, dtype: torch.dtype) -> None:
    """Bicubic, equal to the bit."""
    table = torch.randn((2 * old - 1) ** 2, 3, generator=torch.Generator().manual_seed(0))
    table = table.to(dtype)
    image = table.T.reshape(1, 3, 2 * old - 1, 2 * old - 1)
    image = F.interpolate(image, size=(2 * new - 1, 2 * new - 1), mode='bicubic')
    assert torch.equal(resize_table(table, new), image.flatten(2)[0].T)


def test_resized_tables_are_whole_windows() -> None:
    """Window 14 of EsViT: 169 rows in the last stage become 729; the middle stays the middle."""
    y, x = torch.meshgrid(torch.arange(-6.0, 7), torch.arange(-6.0, 7), indexing='ij')
    tables = torch.stack([y + 10 * x, -y], -1).flatten(0, 1).double()
    resized = resize_table(tables, 14)
    assert resized.shape == (729, 2)
    assert float((resized[13 * 27 + 13] - tables[6 * 13 + 6]).abs().max()) < 1e-12
    assert torch.equal(resize_table(tables, 7), tables)


def test_small_windows_are_resized_and_said() -> None:
    small = (8, (1, 1, 1, 2), (1, 2, 4, 8))
    state = SwinTransformer(small, img_size=32, patch_size=2, window_size=4).state_dict()
    assert sizes(state)['windows'] == (4, 4, 4, 2)
    written = export(state, 'mmseg')
    assert len(written.notes) == 1 and 'stage 4 has windows of 2' in written.notes[0]
    name = 'stages.3.blocks.1.attn.w_msa.relative_position_'
    assert written.state[f'{name}bias_table'].shape == (49, 8)
    assert torch.equal(written.state[f'{name}index'], gen_relative_position_index((4, 4)))
    assert export(state, 'timm').notes == []


@pytest.mark.parametrize('layout', ['timm', 'torchvision', 'mmdet', 'mmseg', 'mmpretrain', 'swin'])
def test_library_tables_run_both_ways(layout: str) -> None:
    kind = {'torchvision': 'resnet', 'mmdet': 'swin', 'swin': 'swin'}.get(layout, 'vit')
    ours = {f'backbone.{k}': v for k, v in table.NETS[kind]().state_dict().items()}
    if layout == 'mmdet':  # which has no place for it
        ours = {k: v for k, v in ours.items() if not k.startswith('backbone.net.norm.')}
    layout = LAYOUTS[layout]
    foreign = layout.restore(ours)
    assert len(foreign) == len(ours)
    back, dropped = layout.translate(foreign, ours)
    assert dropped == [] and back.keys() == ours.keys()
    assert all(torch.equal(back[k], ours[k]) for k in ours)
