"""MoCo v3's loss over two ranks as the official code computed it."""

import math

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from mmssl.core import dist
from mmssl.models.heads import ContrastiveHead

from ..helpers.paths import HERE

CASE = HERE / 'golden' / 'mocov3_loss_2rank_a'


def _golden_loss():
    batch = load_file(CASE / 'batch.safetensors')
    mine = {n[6:]: v for n, v in batch.items() if n.startswith(f'rank{dist.rank()}.')}
    head = ContrastiveHead(0.2, scaled=True)
    q0, q1 = (mine[n].requires_grad_() for n in ('q0', 'q1'))
    found = {'loss.q0_k1': head(q0, mine['k1']), 'loss.q1_k0': head(q1, mine['k0'])}
    found['loss'] = sum(found.values())
    found['loss'].backward()
    found |= {
        'grad.q0': q0.grad,
        'grad.q1': q1.grad,
        'mean': dist.sum_over_ranks(found['loss']) / dist.world_size(),
    }
    return {name: value.detach() for name, value in found.items()} | {'uniform': head.uniform(3)}


def test_the_recorded_loss_of_two_ranks(two_ranks, golden):
    expect = golden('mocov3_loss_2rank_a').expect
    answers = two_ranks(_golden_loss)
    names = ('loss.q0_k1', 'loss.q1_k0', 'loss', 'grad.q0', 'grad.q1')
    for rank, found in enumerate(answers):
        for name in names:
            assert_close(found[name], expect[f'rank{rank}.{name}'], rtol=1e-12, atol=1e-14)
        assert_close(found['mean'], expect['mean_loss'], rtol=1e-12, atol=0)
        assert found['uniform'] == pytest.approx(0.4 * math.log(6), abs=1e-15)
