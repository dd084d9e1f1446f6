"""The backward of one size of views at a time: same numbers, fewer activations."""

import random

import pytest
import torch

from mmssl.core import UserError

from ..methods import LOCALS, MODELS_BY_NAME, agree, batch, build, gradients, state


def step(name, size_by_size):
    backbone = MODELS_BY_NAME[name]['backbone']
    if backbone['type'] != 'ResNet':
        backbone = dict(backbone, drop_path_rate=0.5)
    model = build(name, backbone=backbone, size_by_size=size_by_size)
    views, info = batch(name, 4)
    torch.manual_seed(0)
    random.seed(0)
    kept = []

    def pack(t):
        kept.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model.loss(views, info)['loss']
    loss.backward()
    return loss.detach(), model, sum(kept), torch.rand(1)


@pytest.mark.parametrize('name', LOCALS)
def test_nothing_changes_but_memory(name):
    """Loss, gradients, batch norms, centres and random numbers, with drop path on."""
    loss, model, much, draw = step(name, False)
    ours, saving, little, same = step(name, True)
    assert ours == loss
    assert same == draw
    agree(gradients(saving), gradients(model), 1e-12)
    agree(state(saving), state(model), 0)
    assert little < 0.8 * much


def test_methods_of_one_size_refuse_it():
    with pytest.raises(UserError, match='the views of MoCoV3 have one size'):
        build('mocov3', size_by_size=True)
