"""Clipping, frozen groups, accumulation and mixed precision of one update."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.testing import assert_close

from mmssl.core import Progress
from mmssl.engine import OptimWrapper
from mmssl.optim.gradients import clip

from ..helpers.refusals import refuses


def parameters(grads):
    made = []
    for grad in grads:
        made.append(nn.Parameter(torch.zeros(len(grad) if grad else 2, dtype=torch.float64)))
        made[-1].grad = torch.tensor(grad, dtype=torch.float64) if grad else None
    return made


@given(
    grads=st.lists(st.lists(st.floats(-5, 5), max_size=4), min_size=1, max_size=5),
    limit=st.floats(0.01, 10),
)
def test_each_gradient_is_clipped_as_dino_does(grads, limit):
    ours = parameters(grads)
    given = [p for p in ours if p.grad is not None]
    clip(given, [p.grad.norm().item() for p in given], limit, each=True)
    for parameter, grad in zip(ours, grads, strict=True):
        if not grad:
            assert parameter.grad is None
            continue
        expected = torch.tensor(grad, dtype=torch.float64)
        share = limit / (expected.norm() + 1e-6)
        if share < 1:
            expected = expected * share
        assert_close(parameter.grad, expected, rtol=1e-12, atol=1e-300)


def wrapper(groups, **settings):
    """Plain SGD of rate 1, so that an update is minus the gradient."""
    return OptimWrapper(torch.optim.SGD(groups, lr=1.0), **settings)


def group(*grads, **effects):
    return dict(params=parameters([list(g) for g in grads]), **effects)


def test_clipping_as_a_whole():
    made = wrapper([group((3.0, 0.0), (0.0, 4.0))], clip_grad=dict(max_norm=1.0))
    made.step()
    a, b = made.optimizer.param_groups[0]['params']
    assert_close(a.detach(), torch.tensor([-0.6, 0.0]).double(), rtol=1e-5, atol=0)
    assert_close(b.detach(), torch.tensor([0.0, -0.8]).double(), rtol=1e-5, atol=0)


def test_clipping_each():
    made = wrapper([group((3.0, 0.0)), group((0.0, 0.4))], clip_grad=dict(max_norm=1.0, each=True))
    made.step()
    a, b = (g['params'][0] for g in made.optimizer.param_groups)
    assert_close(a.detach(), torch.tensor([-1.0, 0.0]).double(), rtol=1e-6, atol=0)
    assert_close(b.detach(), torch.tensor([0.0, -0.4], dtype=torch.float64), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('effect', 'thaws'), [(dict(frozen_epochs=2), 6), (dict(frozen_iters=4), 4)]
)
def test_frozen_groups_are_left_out_but_count_in_the_norm(effect, thaws):
    for step in range(8):
        made = wrapper(
            [group((3.0,)), group((4.0,), weight_decay=0.5, **effect)], clip_grad=dict(max_norm=1.0)
        )
        free, frozen = (g['params'][0] for g in made.optimizer.param_groups)
        frozen.data.fill_(2.0)
        made.progress = Progress(step, 30, 3)
        made.step()
        # clipped before the frozen gradient is dropped, as upstream
        assert free.item() == pytest.approx(-0.6, rel=1e-5)
        expected = 2.0 if step < thaws else 2.0 - 0.8 - 0.5 * 2.0
        assert frozen.item() == pytest.approx(expected, rel=1e-5), step


def test_a_frozen_group_needs_the_clock():
    with pytest.raises(RuntimeError, match='need the progress'):
        wrapper([group((1.0,), frozen_epochs=1)]).step()


def test_accumulation_averages_and_updates_once():
    net = nn.Linear(3, 1, bias=False).double()
    whole = copy.deepcopy(net)
    x = torch.randn(6, 3, dtype=torch.float64)
    made = wrapper(net.parameters(), accumulative_counts=3)
    made.initialize_count_status(net, 0, 6)
    firsts, updates = [], []
    for part in x.split(2):
        firsts.append(made.starts_update)
        before = net.weight.clone()
        made.update_params(net(part).square().mean())
        updates.append(made.status.updated)
        assert torch.equal(net.weight, before) != made.status.updated
    assert (firsts, updates) == ([True, False, False], [False, False, True])
    assert made.starts_update
    whole(x).square().mean().backward()
    assert_close(net.weight, whole.weight - whole.weight.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(torch.cuda.is_available(), reason='says what happens without a GPU')
def test_mixed_precision_without_a_gpu(caplog):
    made = wrapper([group((1.0,))], amp='float16')
    assert made.amp is None
    assert not made.scaler.is_enabled()
    with refuses('--amp'):
        wrapper([group((1.0,))], amp='float16', amp_required=True)


def test_unknown_precision():
    with refuses('optim_wrapper.amp', 'fp8'):
        wrapper([group((1.0,))], amp='fp8')


def scaled(net, scale):
    """Return a wrapper that scales its loss, as float16 does on a GPU."""
    made = wrapper(net.parameters())
    made.scaler = GradScaler('cpu', init_scale=scale, growth_interval=2)
    return made


def test_a_scaled_loss_moves_weights_as_the_loss_itself():
    net = nn.Linear(3, 1).double()
    plain = copy.deepcopy(net)
    x = torch.randn(4, 3, dtype=torch.float64)
    made = {scaled(net, 1024.0): net, wrapper(plain.parameters()): plain}
    for _ in range(3):
        for update, network in made.items():
            update.update_params(network(x).square().mean())
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    (first, _) = made
    assert first.scaler.get_scale() == 2048.0, 'doubled after two good updates'
    other = scaled(plain, 1.0)
    other.load_state_dict(first.state_dict())
    assert other.scaler.get_scale() == 2048.0


@pytest.mark.parametrize(('scale', 'faulty'), [(1024.0, False), (1.0, False), (0.5, True)])
def test_gradients_that_overflow_are_passed_over_while_the_scale_can_fall(scale, faulty):
    """Below a scale of 1 they are not the scaler's doing; no weight moves either way."""
    net = nn.Linear(2, 1, bias=False).double()
    before = net.weight.clone()
    made = scaled(net, scale)
    made.backward(net(torch.ones(1, 2, dtype=torch.float64)).sum())
    net.weight.grad[0, 1] = torch.inf
    made.step()
    assert torch.equal(net.weight, before)
    assert (made.status.non_finite, made.scaler.get_scale()) == (faulty, scale / 2)


def test_a_scaled_loss_that_is_not_finite_is_a_fault():
    net = nn.Linear(2, 1, bias=False).double()
    made = scaled(net, 1024.0)
    made.update_params(net(torch.full((1, 2), torch.nan, dtype=torch.float64)).sum())
    assert made.status.non_finite and not made.status.updated


def test_the_state_comes_back():
    net = nn.Linear(2, 2)
    made = OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
    net(torch.ones(1, 2)).sum().backward()
    made.step()
    other = OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.7, momentum=0.1))
    other.load_state_dict(made.state_dict())
    assert other.optimizer.param_groups[0]['lr'] == 0.1
    ours, theirs = (w.optimizer.state_dict()['state'] for w in (made, other))
    for i in (0, 1):
        assert torch.equal(ours[i]['momentum_buffer'], theirs[i]['momentum_buffer'])
