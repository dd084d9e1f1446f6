"""Layouts translate every key of the recorded official files, in both directions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmssl.checkpoint import Layout, NamePair, load, read, register_layout
from mmssl.checkpoint.layouts import LAYOUTS, branches, detect, strip_wrappers
from mmssl.checkpoint.layouts.moby import number_last_layers

from ..helpers.methods import build
from ..helpers.paths import GOLDEN
from ..helpers.recorded import recorded
from ..helpers.refusals import refuses

# recorded files: their layout, and what is dropped on purpose
FILES = {
    'esvit_cvt_vr_a': ('esvit', None),
    'esvit_swin_vr_a': ('esvit', r'relative_position_index$'),
    'moby_swin_a': ('moby', r'(relative_position_index|attn_mask)$'),
    'mocov2_r50_a': ('mocov2', None),
    'mocov3_vit_a': ('mocov3', None),
    'sere_vit_a': ('sere', None),
    'sere_vit_local_a': ('sere', None),
    'swav_r50_a': ('swav', None),
}


def sums_without_a_name(name: str, target: Any) -> set[str]:
    """Sums of incomplete updates, which only SERE's code stores."""
    if name.startswith('sere'):
        return set()
    return {key for key in target if key.endswith('.collected')}


@pytest.mark.parametrize('name', FILES)
def test_layout_is_recognised(name: str) -> None:
    path = str(GOLDEN / name / 'official.pth')
    layout, foreign = detect(read(path), path)
    assert layout.name == FILES[name][0]
    assert len(foreign) > 50


def test_flat_hub_file_is_recognised() -> None:
    path = str(GOLDEN / 'swav_r50_a' / 'official_hub.pth')
    layout, foreign = detect(read(path), path)
    assert layout.name == 'swav'
    whole = detect(read(GOLDEN / 'swav_r50_a' / 'official.pth'), '')[1]
    assert foreign.keys() == whole.keys()


@pytest.mark.parametrize('name', FILES)
def test_every_key_is_taken(name: str) -> None:
    model, path = recorded(name)
    layout, foreign = detect(read(path), str(path))
    target = model.state_dict()
    ours, dropped = layout.translate(foreign, target)
    assert set(ours) == set(target) - sums_without_a_name(name, target)
    pattern = FILES[name][1]
    assert [key for key in dropped if not (pattern and re.search(pattern, key))] == []
    assert bool(dropped) is (pattern is not None)
    twice = len(foreign) - len(dropped) - len(ours)
    # SERE's shared last layers are stored under two names, in both networks
    assert twice == (4 if name.startswith('sere') else 0)
    for key, value in ours.items():
        assert value.shape == target[key].shape, key


@pytest.mark.parametrize('name', FILES)
def test_loaded_values_are_the_files(name: str) -> None:
    """Each tensor equals the file's under the name that the table gives back."""
    model, path = recorded(name)
    report = load(model, path)
    assert (report.layout, report.branch) == (FILES[name][0], 'both')
    assert not (report.missing or report.unexpected or report.mismatched)
    without = sums_without_a_name(name, model.state_dict())
    assert len(report.matched) == len(model.state_dict()) - len(without)
    layout, foreign = detect(read(path), str(path))
    files = {strip_wrappers(key): value for key, value in foreign.items()}
    unnamed = []
    for key in model.state_dict().keys() - without:
        value = model.state_dict()[key]
        names = [pair.to_foreign(key) for pair in layout.pairs]
        found = [n for n in names if n is not None and n in files]
        if not found:
            unnamed.append(key)
            continue
        assert torch.equal(value, files[found[0]].to(value)), key
    assert unnamed == []


@pytest.mark.parametrize('name', FILES)
def test_tables_run_back(name: str) -> None:
    """Without a model to look at: foreign, ours and foreign again is the file, but for aliases."""
    path = GOLDEN / name / 'official.pth'
    layout, foreign = detect(read(path), str(path))
    ours, dropped = layout.translate(foreign)
    back = layout.restore(ours)
    wanted = {strip_wrappers(k): v for k, v in foreign.items() if k not in dropped}
    for key, value in back.items():
        assert torch.equal(value, wanted[key]), key
    assert back.keys() == wanted.keys()
    # SERE's shared last layers are stored under two names
    assert sum('last_layer2' in k for k in dropped) == (4 if name.startswith('sere') else 0)


@pytest.mark.parametrize('name', FILES)
def test_only_one_layout_fits(name: str) -> None:
    content = read(GOLDEN / name / 'official.pth')
    assert [d.name for d in LAYOUTS.values() if d.find(content)] == [FILES[name][0]]


def test_several_layouts_that_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Layout('other', roots=('state_dict',), sign='base_encoder', pairs=())
    monkeypatch.setitem(LAYOUTS, 'other', other)
    content = {'state_dict': {'base_encoder.x': torch.ones(1)}}
    with refuses('layout', 'auto') as caught:
        detect(content, 'f')
    assert '(mocov3, other)' in str(caught.value)
    assert detect(content, 'f', 'other')[0] is other


@pytest.mark.parametrize(('hidden', 'number'), [((), 1), ((1, 2), 4), ((1, 2, 4, 5), 7)])
def test_mobys_last_linear_gets_the_next_number(hidden: tuple[int, ...], number: int) -> None:
    names = [f'predictor.linear_hidden.{i}.weight' for i in hidden]
    state = {name: torch.ones(1) for name in [*names, 'predictor.linear_out.weight', 'x.weight']}
    renamed = number_last_layers({}, state)
    assert list(renamed) == [*names, f'predictor.linear_hidden.{number}.weight', 'x.weight']


def test_mobys_last_linear_is_the_last() -> None:
    model, path = recorded('moby_swin_a')
    load(model, path)
    file = read(path)['model']
    for branch, foreign in (('student', 'projector'), ('teacher', 'projector_k')):
        assert torch.equal(
            getattr(model, branch).neck['project'][-1].weight,
            file[f'{foreign}.linear_out.weight'].double(),
        )
    assert torch.equal(model.head.predictor[-1].bias, file['predictor.linear_out.bias'].double())


@pytest.mark.parametrize('name', ['official', 'official_hub'])
def test_both_swav_layouts_load(name: str) -> None:
    model, _ = recorded('swav_r50_a')
    report = load(model, GOLDEN / 'swav_r50_a' / f'{name}.pth')
    assert len(report.matched) == len(model.state_dict()) == 112
    assert report.epoch == (1 if name == 'official' else None)


def test_a_shared_layer_has_one_value() -> None:
    path = GOLDEN / 'sere_vit_a' / 'official.pth'
    file = read(path)['student']
    for entry in ('weight_g', 'weight_v'):
        one, two = (file[f'module.head.last_layer{n}.{entry}'] for n in ('', '2'))
        assert torch.equal(one, two)


# which layout -------------------------------------------------------------------------------------
def test_unknown_layout_is_named(tmp_path: Path) -> None:
    torch.save({'net': {'x': torch.ones(1)}, 'step': 3}, tmp_path / 'x.pth')
    with refuses('file', str(tmp_path / 'x.pth')) as caught:
        load(build('mocov3'), tmp_path / 'x.pth')
    assert 'net.x, step)' in str(caught.value)


def test_wrappers_are_removed() -> None:
    for key in ('module.x.y', 'student.module.x.y', 'teacher.module.x.y'):
        assert strip_wrappers(key) == key.replace('module.', '')
    assert strip_wrappers('x.module.y') == 'x.module.y'


def test_sides_repeat_lines_for_each_branch() -> None:
    pairs = branches({'student': 'q.', 'teacher': 'k.'}, ('a.{rest}', 'b.{rest}'), ('c', None))
    assert pairs == (
        NamePair('q.a.{rest}', 'student.b.{rest}'),
        NamePair('q.c', None),
        NamePair('k.a.{rest}', 'teacher.b.{rest}'),
        NamePair('k.c', None),
    )


def test_foreign_layout_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmssl.checkpoint.layouts.LAYOUTS', dict(LAYOUTS))
    mine = Layout(
        'mine', roots=('weights',), sign=r'trunk\.', pairs=(NamePair('trunk.{rest}', 'x'),)
    )
    state = {'weights': {'trunk.a': torch.ones(1), 'note': 'text'}}
    with refuses('file', 'f'):
        detect(state, 'f')
    assert register_layout(mine) is mine
    assert register_layout(mine) is mine  # twice is once
    assert detect(state, 'f') == (mine, {'trunk.a': state['weights']['trunk.a']})
    with refuses('layout', 'mine'):
        register_layout(Layout('mine', roots=('x',), sign='y', pairs=()))


# Swin's two layouts -------------------------------------------------------------------------------
def test_merging_belongs_to_the_next_stage() -> None:
    name: Callable[[str, list[str]], str | None] = LAYOUTS['moby'].name_of
    target = ['student.backbone.net.layers.1.downsample.norm.weight']
    assert name('encoder.layers.0.downsample.norm.weight', target) == target[0]


def test_first_line_of_the_table_that_the_target_has() -> None:
    """iBOT's second last layer is a layer of its own, or the first one again."""
    key = 'student.module.head.last_layer2.weight_v'
    own = ['student.neck.view.last_layer.weight_v', 'student.neck.view.last_layer2.weight_v']
    assert LAYOUTS['ibot'].name_of(key, own) == own[1]
    assert LAYOUTS['ibot'].name_of(key, own[:1]) == own[0]


def test_tensors_only() -> None:
    """Entries that are no tensors never reach the table."""
    content = {'state_dict': {'base_encoder.x': torch.ones(2), 'base_encoder.note': 'hello'}}
    _, foreign = detect(content, 'f')
    assert list(foreign) == ['base_encoder.x']
    assert isinstance(foreign['base_encoder.x'], Tensor)


def test_openselfsup_stores_the_student_twice(tmp_path: Path) -> None:
    """A sequence of backbone and neck, whose first part is also named ``backbone``."""
    model = build('moco', 1)
    state: dict[str, Tensor] = {}
    for ours, theirs in (('student', 'encoder_q'), ('teacher', 'encoder_k')):
        branch = getattr(model, ours)
        state |= {f'{theirs}.0.{k}': v for k, v in branch.backbone.net.state_dict().items()}
        state |= {f'{theirs}.1.mlp.{k}': v for k, v in branch.neck['project'].state_dict().items()}
    state |= {f'backbone.{k}': v for k, v in model.student.backbone.net.state_dict().items()}
    state |= {'queue': model.queue.bank0, 'queue_ptr': model.queue.pointer}
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    other = build('moco', 2)
    report = load(other, tmp_path / 'x.pth')
    assert (report.layout, report.branch) == ('openselfsup_mocov2', 'both')
    assert report.missing == report.unexpected == report.mismatched == []
    assert all(name.startswith('backbone.') for name in report.dropped)
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize('norms', ['norm1', 'norm0 norm1', 'norm', 'norm norm1'])
def test_the_last_norm_of_mmcls(norms: str) -> None:
    """``norm1`` of a Swin of two stages is its last norm where it is the only one."""
    layout = LAYOUTS['mmdet']
    state = {'stages.0.blocks.0.attn.w_msa.qkv.bias': torch.ones(1)}
    state |= {'stages.1.blocks.0.norm1.weight': torch.ones(1)}
    state |= {f'backbone.{norm}.weight': torch.ones(1) for norm in norms.split()}
    found = layout.find({'state_dict': state})
    assert found is not None
    ours, _ = layout.translate(found)
    names = {name for name in ours if 'blocks' not in name and 'qkv' not in name}
    maps = {f'backbone.{norm}.weight' for norm in norms.split() if norm != 'norm'}
    last = {'backbone.net.norm.weight'}
    assert names == (last if norms == 'norm1' else maps | last if 'norm' in norms.split() else maps)
