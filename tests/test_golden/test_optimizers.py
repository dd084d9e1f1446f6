"""LARS and LARC against recorded steps of the official optimizers."""

import pytest
from torch import nn
from torch.testing import assert_close

from mmssl.engine import LARC, LARS, ParamGroupConstructor


def module_of(tensors):
    """Build a module whose parameters have the given dotted names."""
    root = nn.Module()
    for name, value in tensors.items():
        owner = root
        *path, last = name.split('.')
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        owner.register_parameter(last, nn.Parameter(value.clone()))
    return root


def initial(case):
    return {n[5:]: v for n, v in case.batch.items() if n.startswith('init.')}


def run(case, model, optimizer, prefix=''):
    """Take the recorded steps; check every tensor and that none is left out."""
    parameters = dict(model.named_parameters())
    compared = set()
    for i, lr in enumerate(case.case['lr_per_step']):
        for name, parameter in parameters.items():
            grad = case.batch.get(f'step{i}.grad.{name}')
            parameter.grad = None if grad is None else grad.clone()
        for group in optimizer.param_groups:
            group['lr'] = lr
        optimizer.step()
        for name, parameter in parameters.items():
            key = f'{prefix}step{i}.param.{name}'
            assert_close(parameter.detach(), case.expect[key], rtol=1e-12, atol=1e-14, msg=key)
            compared.add(key)
            state = optimizer.state.get(parameter, {})
            for recorded in ('mu', 'momentum_buffer'):
                key = f'{prefix}step{i}.{recorded}.{name}'
                if key in case.expect:
                    ours = state['momentum_buffer']
                    assert_close(ours, case.expect[key], rtol=1e-12, atol=1e-14, msg=key)
                    compared.add(key)
    return compared


def test_lars_with_the_recipes_rules(golden):
    case = golden('mocov3_lars_a')
    model = module_of(initial(case))
    h = case.case['hyper_params']
    optimizer = ParamGroupConstructor(
        dict(
            type='OptimWrapper',
            optimizer=dict(
                type='LARS',
                lr=1.0,
                momentum=h['momentum'],
                weight_decay=h['weight_decay'],
                trust=h['trust_coefficient'],
            ),
        ),
        dict(rules=[dict(ndim=1, decay_mult=0.0, adapt=False)]),
    )(model).optimizer
    assert isinstance(optimizer, LARS)
    assert sorted(len(g['params']) for g in optimizer.param_groups) == [3, 5]
    assert run(case, model, optimizer) == set(case.expect)
    assert model.never.weight not in optimizer.state


@pytest.mark.parametrize('clip', [False, True])
def test_larc(golden, clip):
    case = golden('swav_larc_a')
    model = module_of(initial(case))
    h = case.case['hyper_params']
    optimizer = LARC(
        model.parameters(),
        lr=1.0,
        momentum=h['momentum'],
        weight_decay=h['weight_decay'],
        trust=h['trust_coefficient'],
        eps=h['eps'],
        clip=clip,
    )
    compared = run(case, model, optimizer, 'clip.' if clip else '')
    rest = set(case.expect) - compared
    # the other variant of the same run, and the rescaled gradients checked below
    assert {n.split('.')[0] for n in rest if 'scaled_grad' not in n} == ({
        *('step0', 'step1', 'step2')} if clip else {'clip'})  # fmt: skip
    assert len(compared) == (24 if clip else 43)


def test_larc_rescales_as_recorded(golden):
    case = golden('swav_larc_a')
    h = case.case['hyper_params']
    names = [n for n in initial(case) if f'step0.grad.{n}' in case.batch]
    params = [case.batch[f'init.{n}'] for n in names]
    grads = [case.batch[f'step0.grad.{n}'] for n in names]
    optimizer = LARC([nn.Parameter(p) for p in params], lr=1.0, weight_decay=h['weight_decay'])
    done = optimizer.rescale(grads, params, optimizer.param_groups[0])
    for name, ours in zip(names, done, strict=True):
        expected = case.expect[f'step0.scaled_grad.{name}']
        assert_close(ours, expected, rtol=1e-12, atol=1e-14, msg=name)
    assert len(done) == 6
