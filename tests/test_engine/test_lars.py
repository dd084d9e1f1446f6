"""LARS and LARC as optimizers of torch."""

import pytest
import torch
from torch import nn

from mmssl.engine import LARC, LARS


def test_no_gradient_no_state_and_a_closure_is_called():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = LARS([parameter], lr=1.0)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert not optimizer.state
    assert torch.equal(parameter.detach(), torch.ones(2))


@pytest.mark.parametrize('kind', [LARS, LARC])
def test_all_tensors_at_once_are_moved_as_one_by_one(kind):
    """The GPU's way, called by hand; a zero weight and a zero gradient among them."""
    torch.manual_seed(0)
    sizes = [(3, 4), (5,), (2, 2, 2), (4,)]
    ours, theirs = (
        [torch.arange(1.0, 1 + torch.Size(s).numel()).double().view(s) for s in sizes]
        for _ in range(2)
    )
    for both in (ours, theirs):
        both[1].zero_()
    optimizers = [kind(both, lr=0.3, weight_decay=0.1) for both in (ours, theirs)]
    for _ in range(3):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        ours[3].grad.zero_()
        theirs[3].grad.zero_()
        with torch.no_grad():
            optimizers[0]._move(ours, optimizers[0].param_groups[0])
        optimizers[1].step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-13, atol=1e-13)
    assert not torch.equal(ours[0], torch.arange(1.0, 13.0).double().view(3, 4))
