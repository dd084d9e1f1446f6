"""Optimizer state stored by position lands on the parameter that owned it."""

import json
from copy import deepcopy
from typing import Any

import pytest
import torch

from mmssl.checkpoint import read
from mmssl.checkpoint.layouts import detect, strip_wrappers
from mmssl.checkpoint.optimizer_state import load_optimizer
from mmssl.engine import ParamGroupConstructor
from mmssl.registry import MODELS

from ..helpers.official import METHODS, record
from ..helpers.paths import GOLDEN
from ..helpers.recorded import recorded
from ..helpers.refusals import refuses
from ..helpers.replaying import BLOCKS, LARS, RESNET, changed
from ..replay import cases, settings

FILES = (
    'moby_swin_a',
    'mocov2_r50_a',
    'mocov3_vit_a',
    'sere_vit_a',
    'sere_vit_local_a',
    'swav_r50_a',
)


def prepared(name: str) -> tuple[Any, Any, dict[str, Any], Any, dict[str, Any]]:
    """Return model, optimizer, content, layout and the case's text."""
    model, path = recorded(name)
    case = json.loads((path.parent / 'case.json').read_text())
    return model, *parts(model, path, case)


def parts(model: Any, path: Any, case: dict[str, Any]) -> tuple[Any, ...]:
    """Build the optimizer of a case; return it, the file's content, its layout, the case."""
    wrapper, rules = settings.optimizer(case['replay'])
    built = ParamGroupConstructor(wrapper, dict(rules=rules))(model)
    content = read(path)
    return built.optimizer, content, detect(content, str(path))[0], case


def official_order(name: str, content: dict[str, Any], case: dict[str, Any]) -> list[str]:
    """Foreign names by position, from the lists of the case or the order of its card."""
    if name.startswith('moby'):
        groups = case['param_groups']
        names = groups['weight_decay'] + groups['no_weight_decay']
        return [name.replace('linear_out', 'linear_hidden.4') for name in names]
    if name.startswith('sere'):
        return [f'student.{key}' for group in case['optimizer_param_names'] for key in group]
    # MoCo and SwAV: one group of model.parameters(), which a state dict lists between buffers
    buffers = ('running_mean', 'running_var', 'num_batches_tracked', 'queue', 'queue_ptr')
    return [key for key in content['state_dict'] if not key.endswith(buffers)]


@pytest.mark.parametrize('name', FILES)
def test_state_follows_its_parameter(name: str) -> None:
    model, optimizer, content, layout, case = prepared(name)
    count = load_optimizer(optimizer, model, content, layout)
    stored, order = content['optimizer'], official_order(name, content, case)
    assert len(order) == sum(len(group['params']) for group in stored['param_groups'])
    assert count == len(stored['state']) == len(optimizer.state) > 35
    parameters = dict(model.named_parameters())
    target = list(model.state_dict())
    for position, entries in stored['state'].items():
        ours = parameters[layout.name_of(order[position], target)]
        assert optimizer.state[ours].keys() == entries.keys()
        for key, value in entries.items():
            found = optimizer.state[ours][key]
            assert torch.equal(found.double(), value.double()), (order[position], key)
            assert found.dtype == (torch.float32 if key == 'step' else torch.float64)


def test_lars_buffer_is_renamed(tmp_path: Any) -> None:
    changes = {
        'backbone': RESNET,
        'heads.projector': [128, 24, 12],
        'views.sizes': [32, 32],
        'optimizer': LARS,
    }
    folder = record(METHODS['mocov3'](changed(BLOCKS['mocov3'], changes)), tmp_path)
    case = json.loads((folder / 'case.json').read_text())
    model = MODELS.build(cases.model(case['replay'])).double()
    optimizer, content, layout, _ = parts(model, folder / 'official.pth', case)
    load_optimizer(optimizer, model, content, layout)
    assert all(set(entries) == {'momentum_buffer'} for entries in optimizer.state.values())
    first = model.student.backbone.net.conv1.weight
    assert torch.equal(
        optimizer.state[first]['momentum_buffer'], content['optimizer']['state'][0]['mu'].double()
    )


# what does not fit --------------------------------------------------------------------------------
def test_file_without_state() -> None:
    model, optimizer, content, layout, _ = prepared('mocov2_r50_a')
    del content['optimizer']
    with refuses('optimizer'):
        load_optimizer(optimizer, model, content, layout)


def test_positions_that_do_not_cover_the_model() -> None:
    model, optimizer, content, layout, _ = prepared('mocov2_r50_a')
    content = deepcopy(content)
    content['optimizer']['param_groups'][0]['params'].pop()
    with refuses('optimizer', 109) as caught:
        load_optimizer(optimizer, model, content, layout)
    assert 'the model has 110' in str(caught.value)


def test_state_of_another_shape() -> None:
    model, optimizer, content, layout, _ = prepared('mocov2_r50_a')
    content = deepcopy(content)
    content['optimizer']['state'][0]['momentum_buffer'] = torch.zeros(4, 3)
    first = next(name for name, _ in model.student.named_parameters(prefix='student'))
    with refuses(first, (4, 3)) as caught:
        load_optimizer(optimizer, model, content, layout)
    assert f'(4, 3) for {tuple(model.get_parameter(first).shape)}' in str(caught.value)


def test_state_of_a_tensor_the_model_lacks() -> None:
    model, optimizer, content, layout, _ = prepared('swav_r50_a')
    content = deepcopy(content)
    content['state_dict']['module.projection_head.9.weight'] = torch.ones(2)
    with refuses('module.projection_head.9.weight'):
        load_optimizer(optimizer, model, content, layout)


def test_recorded_names_carry_wrappers() -> None:
    case = json.loads((GOLDEN / 'sere_vit_a' / 'case.json').read_text())
    first = case['optimizer_param_names'][0][0]
    assert strip_wrappers(f'student.{first}') == 'student.backbone.cls_token'


# what is no state of an optimizer -----------------------------------------------------------------
def first_entry(content: dict[str, Any]) -> dict[str, Any]:
    return content['optimizer']['state'][0]


def _replace(key: str, change: Any) -> Any:
    def damage(content: dict[str, Any]) -> None:
        entry = first_entry(content)
        entry[key] = change(entry[key])

    return damage


DAMAGE: dict[str, tuple[Any, Any]] = {
    # what is done to the content -> the error's value
    'a scalar': (_replace('exp_avg', lambda v: v.sum()), ()),
    'one element': (_replace('exp_avg', lambda v: v.reshape(-1)[:1]), (1,)),
    'complex': (_replace('exp_avg', lambda v: v.to(torch.complex64)), 'complex64'),
    'whole numbers': (_replace('exp_avg_sq', lambda v: v.int()), 'int32'),
    'not finite': (_replace('exp_avg_sq', lambda v: v / 0), 'float32'),
    'a text': (_replace('exp_avg', lambda _: 'x'), 'str'),
    'steps below zero': (_replace('step', lambda _: -3), -3),
    'steps of a text': (_replace('step', lambda _: 'x'), 'x'),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_entries_of_another_form_are_refused_by_parameter(name: str) -> None:
    model, optimizer, content, layout, case = prepared('moby_swin_a')
    damage, told = DAMAGE[name]
    content = deepcopy(content)
    damage(content)
    foreign = official_order('moby_swin_a', content, case)[0]
    ours = layout.name_of(foreign)
    with refuses(ours, told):
        load_optimizer(optimizer, model, content, layout)
    assert not optimizer.state


@pytest.mark.parametrize(
    ('stored', 'value'),
    [
        ([1], 'list'),
        ({'state': [], 'param_groups': []}, 'dict'),
        ({'state': {}, 'param_groups': [{'params': None}]}, 'dict'),
        ({'state': {0: []}, 'param_groups': []}, 'dict'),
        ({'state': {'0': {}}, 'param_groups': []}, 'dict'),
    ],
)
def test_what_is_no_optimizer_is_refused(stored: Any, value: str) -> None:
    model, optimizer, content, layout, _ = prepared('moby_swin_a')
    with refuses('optimizer', value):
        load_optimizer(optimizer, model, content | {'optimizer': stored}, layout)


def test_state_at_a_position_that_is_not_there_is_refused() -> None:
    model, optimizer, content, layout, _ = prepared('moby_swin_a')
    content = deepcopy(content)
    content['optimizer']['state'][10**6] = {}
    with refuses('optimizer', 10**6):
        load_optimizer(optimizer, model, content, layout)
    assert not optimizer.state
