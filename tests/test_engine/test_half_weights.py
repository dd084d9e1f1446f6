"""Weights that are cast together: the numbers of autocast, in fewer launches."""

import pytest
import torch
from torch import nn

from mmssl.engine.optim.half_weights import HalfWeights
from mmssl.engine.optim.wrapper import OptimWrapper
from mmssl.planning.device_counts import DeviceCounts

from ..helpers.methods import MODELS_BY_NAME, batch, build

HALF = torch.bfloat16


def gradients(model, views, info, cast):
    """Losses and gradients of a step under the CPU's autocast, and what it asks of a device."""
    torch.manual_seed(0)
    weights = HalfWeights(model)
    with DeviceCounts() as counts:
        with torch.autocast('cpu', dtype=HALF):
            if cast:
                with weights.cast(HALF):
                    losses = model(views, info, mode='loss')
            else:
                losses = model(views, info, mode='loss')
        losses['loss'].backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {n: v.detach() for n, v in losses.items()}, found, sum(counts.launches.values())


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('name', MODELS_BY_NAME)
def test_losses_and_gradients_are_autocasts_to_the_bit(name, with_cp):
    views, info = batch(name, 6)
    views = [view.float() for view in views]
    plain, together = (build(name).float() for _ in range(2))
    for model in (plain, together):
        for branch in (model.student, model.teacher) if model.teacher_update else (model.student,):
            branch.backbone.with_cp = with_cp
    expected, expected_grads, launches = gradients(plain, views, info, cast=False)
    before = dict(together.named_parameters())
    losses, grads, fewer = gradients(together, views, info, cast=True)
    assert all(p is before[n] for n, p in together.named_parameters())
    assert losses.keys() == expected.keys() and grads.keys() == expected_grads.keys()
    assert all(torch.equal(losses[n], value) for n, value in expected.items())
    assert [n for n, g in expected_grads.items() if not torch.equal(grads[n], g)] == []
    if not with_cp:  # what is computed again casts for itself
        assert fewer < launches


class Network(nn.Module):
    """A layered network of two blocks, of which one is not used."""

    not_compilable, with_cp = '', False

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

    def layer_groups(self):
        return [[self.used], [self.unused]]

    def encode(self, x):
        return self.used(x)


def test_what_was_not_used_has_no_gradient():
    network = Network()
    weights = HalfWeights(network)
    assert [len(block) for block in weights.blocks] == [2, 2]
    with weights.cast(HALF), torch.autocast('cpu', dtype=HALF):
        network.encode(torch.ones(1, 3)).sum().backward()
    assert network.used.weight.grad.dtype == torch.float32
    assert network.unused.weight.grad is None


def test_weights_come_back_after_an_error():
    network = Network()
    own = network.used.weight
    with pytest.raises(ZeroDivisionError), HalfWeights(network).cast(HALF):
        assert network.used.weight.dtype == HALF
        network.encode(1 / 0)
    assert network.used.weight is own


def test_compiled_networks_cast_for_themselves():
    network = Network()
    network.encode = torch.compile(network.encode, backend='eager')
    assert HalfWeights(network).blocks == []


def test_a_step_in_mixed_precision_casts_them():
    network = Network()
    wrapper = OptimWrapper(torch.optim.SGD(network.parameters(), lr=0.1))
    wrapper.amp, wrapper.amp_device = HALF, 'cpu'
    with wrapper.optim_context(network):
        assert network.used.weight.dtype == HALF
        out = network.encode(torch.ones(1, 3))
    assert (out.dtype, network.used.weight.dtype) == (HALF, torch.float32)
