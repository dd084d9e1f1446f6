"""The table of parameter rules."""

import copy

import pytest
import torch
from torch import nn

from mmssl.engine import ParamGroupConstructor
from mmssl.optim.param_groups import EFFECTS, param_effects

from ..helpers.refusals import refuses


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.last_layer = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_without_rules_everything_trainable_is_treated_alike():
    table = param_effects(Net(), [])
    assert list(table) == [
        *('body.weight', 'body.bias', 'norm.weight', 'norm.bias'),
        *('last_layer.weight', 'last_layer.bias'),
    ]
    assert all(effects == EFFECTS for effects in table.values())


def test_later_rules_refine_earlier_ones():
    """SERE's table: no decay for 1-D tensors, but for biases after all."""
    rules = [
        dict(ndim=1, decay_mult=0.0, lr_mult=2.0),
        dict(match=r'\.bias$', decay_mult=1.0),
        dict(match='last_layer', ndim=2, frozen_epochs=1),
    ]
    table = param_effects(Net(), rules)
    decay = {n: e['decay_mult'] for n, e in table.items()}
    assert [n for n, d in decay.items() if d == 0] == ['norm.weight']
    assert table['norm.bias'] == dict(EFFECTS, lr_mult=2.0)
    assert table['body.weight'] == EFFECTS
    frozen = {n: e['frozen_epochs'] for n, e in table.items()}
    assert {n for n, e in frozen.items() if e} == {'last_layer.weight'}


@pytest.mark.parametrize(
    'rule', [dict(match='head'), dict(match='frozen', lr_mult=0.1), dict(match='norm', ndim=2)]
)
def test_a_rule_for_no_parameter_is_refused(rule):
    with refuses('paramwise_cfg.rules', rule):
        param_effects(Net(), [rule])


def test_an_unknown_key_of_a_rule_is_refused():
    with refuses('decay', 0.0) as caught:
        param_effects(Net(), [dict(match='body', decay=0.0)])
    assert 'did you mean decay_mult or layer_decay?' in str(caught.value)


def test_equal_param_effects_share_a_group():
    rules = [dict(ndim=1, decay_mult=0.0), dict(match='last_layer', lr_mult=0.5, frozen_iters=3)]
    cfg = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.4, weight_decay=0.1))
    net = Net()
    groups = ParamGroupConstructor(cfg, dict(rules=rules))(net).optimizer.param_groups
    found = [(g['names'], g['lr'], g['weight_decay'], g['frozen_iters']) for g in groups]
    assert found == [
        (['body.weight'], 0.4, 0.1, 0),
        (['body.bias', 'norm.weight', 'norm.bias'], 0.4, 0.0, 0),
        (['last_layer.weight'], 0.2, 0.1, 3),
        (['last_layer.bias'], 0.2, 0.0, 3),
    ]
    own = dict(net.named_parameters())
    for group in groups:
        assert all(own[n] is p for n, p in zip(group['names'], group['params'], strict=True))


def test_a_model_without_decay_keeps_none():
    cfg = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.4))
    (group,) = ParamGroupConstructor(cfg)(Net()).optimizer.param_groups
    assert (group['weight_decay'], group['lr'], len(group['params'])) == (0.0, 0.4, 6)
    assert torch.optim.SGD is type(ParamGroupConstructor(cfg)(Net()).optimizer)


@pytest.mark.parametrize('kind', ['Adam', 'AdamW'])
def test_adam_makes_one_pass_and_the_same_numbers(kind):
    """Fused unless the config says otherwise; a tensor without gradient stays."""
    nets, start = [], copy.deepcopy(Net().double().state_dict())
    for choice in ({}, dict(fused=False), dict(foreach=True)):
        net = Net().double()
        net.load_state_dict(start)
        optimizer = dict(type=kind, lr=0.1, weight_decay=0.3, **choice)
        wrapper = ParamGroupConstructor(dict(type='OptimWrapper', optimizer=optimizer))(net)
        fused = bool(wrapper.optimizer.param_groups[0]['fused'])
        assert fused is (not choice)
        for step in range(4):
            for i, p in enumerate(net.body.parameters()):
                p.grad = torch.sin(torch.arange(p.numel()) + step + i).view_as(p).double()
            if step:
                net.norm.weight.grad = torch.full_like(net.norm.weight, 0.5)
            wrapper.optimizer.step()
        nets.append(net.state_dict())
    rest = {n for n in start if 'last_layer' in n or 'frozen' in n or n == 'norm.bias'}
    for name, expected in nets[1].items():
        for other in (nets[0], nets[2]):
            torch.testing.assert_close(other[name], expected, rtol=1e-13, atol=1e-15)
        assert torch.equal(expected, start[name]) is (name in rest)


# custom_keys --------------------------------------------------------------------------------------
CUSTOM = {
    'norm': dict(decay_mult=0.0),
    'body': dict(lr_mult=0.1, decay_mult=0.5),
    'body.bias': dict(lr_mult=0.3),
    'nothing': dict(decay_mult=0.0),  # as recipes of several networks have
}


def test_custom_keys_are_those_of_mmengine():
    from mmengine.optim import DefaultOptimWrapperConstructor

    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.4, weight_decay=0.1))
    net = Net()
    names = {parameter: name for name, parameter in net.named_parameters()}
    found = []
    for constructor in (ParamGroupConstructor, DefaultOptimWrapperConstructor):
        groups = constructor(dict(cfg), dict(custom_keys=CUSTOM))(net).optimizer.param_groups
        found.append({
            names[p]: (group['lr'], group['weight_decay'])
            for group in groups for p in group['params'] if p.requires_grad
        })  # fmt: skip
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 4


def test_rules_refine_custom_keys():
    table = param_effects(Net(), [dict(match='body', lr_mult=2.0)], CUSTOM)
    assert table['body.bias'] == dict(EFFECTS, lr_mult=2.0)
    assert table['body.weight'] == dict(EFFECTS, lr_mult=2.0, decay_mult=0.5)


def test_unknown_settings_are_refused():
    with refuses('lr_mul', 0.1) as caught:
        param_effects(Net(), [], {'body': dict(lr_mul=0.1)})
    assert 'did you mean lr_mult' in str(caught.value)
    with refuses('paramwise_cfg.norm_decay_mult', 0.0):
        ParamGroupConstructor({}, dict(norm_decay_mult=0.0))


def test_a_wrapper_without_a_type_is_the_usual_one():
    cfg = dict(optimizer=dict(type='SGD', lr=0.4))
    assert type(ParamGroupConstructor(cfg)(Net())).__name__ == 'OptimWrapper'


# series of blocks ---------------------------------------------------------------------------------
def deep(depth=4):
    blocks = nn.ModuleList(
        [nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]) for _ in range(depth)]
    )
    return nn.ModuleDict({'blocks': blocks, 'head': nn.Linear(2, 2)})


def graded(depth, rate=0.5):
    """One rule a block, as for layer decay of a network of that depth."""
    return [
        dict(match=rf'^blocks\.{i}\.', lr_mult=rate ** (depth - i)) for i in range(depth)
    ]  # fmt: skip


def test_rates_from_block_to_block_cover_all_blocks():
    param_effects(deep(), graded(4))
    with refuses('paramwise_cfg.rules', [3]) as caught:
        param_effects(deep(), graded(3))
    assert 'blocks.N' in str(caught.value) and 'layer_decay' in str(caught.value)
    with refuses('paramwise_cfg.rules', [2, 3]):
        keys = {f'blocks.{i}.': dict(lr_mult=0.5 ** (4 - i)) for i in range(2)}
        param_effects(deep(), [], keys)
    # stated to be at the full rate
    param_effects(deep(), [*graded(3), dict(match=r'^blocks\.3', lr_mult=1.0)])


@pytest.mark.parametrize(
    'rules',
    [
        [dict(match=r'^blocks\.[01]\.', lr_mult=0.1)],  # one rate for the first blocks
        [dict(match=r'^blocks\.0\.', frozen_epochs=1), dict(match=r'^blocks\.1\.', decay_mult=0.0)],
        [dict(match='head', lr_mult=10.0)],
    ],
)
def test_one_rate_for_some_blocks_is_meant(rules):
    param_effects(deep(), rules)


def test_frozen_blocks_need_no_rate():
    model = deep()
    model['blocks'][0].requires_grad_(False)
    param_effects(model, graded(4)[1:])
