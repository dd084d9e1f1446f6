"""LARS as an optimizer of torch."""

import torch
from torch import nn

from mmssl.engine import LARS


def test_no_gradient_no_state_and_a_closure_is_called():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = LARS([parameter], lr=1.0)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert not optimizer.state
    assert torch.equal(parameter.detach(), torch.ones(2))
