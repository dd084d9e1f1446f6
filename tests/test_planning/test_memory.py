"""Tracked bytes against sizes known by hand."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from mmssl.models.backbones.attention import MAX_BATCH
from mmssl.planning.cuda_emulation import EmulateCUDA
from mmssl.planning.memory import Memory

MEGA = 4 * 1000 * 1000  # bytes of one matrix below


def test_what_is_made_counts_until_it_is_freed() -> None:
    x = torch.ones(1000, 1000, requires_grad=True)
    with Memory() as memory:
        y = x * 2
        view = y.t()[3:]  # the same bytes
        del y
        assert (memory.now, memory.peak) == (MEGA, MEGA)
        del view
        assert (memory.now, memory.peak) == (0, MEGA)


def test_the_backward_is_seen() -> None:
    """Exp keeps its result; its gradient takes the place of nothing: two at once, one stays."""
    x = torch.ones(1000, 1000, requires_grad=True)
    with Memory() as memory:
        loss = x.exp().sum()
        assert memory.now == MEGA + 4
        loss.backward()
        assert memory.now == MEGA + 4
    assert memory.peak == 2 * MEGA + 8  # the gradient of the scalar too
    assert x.grad is not None and x.grad.nbytes == MEGA


def test_what_was_there_before_is_free() -> None:
    x = torch.ones(1000, 1000)
    with Memory() as memory:
        x.add_(1)
        torch.mul(x, 2, out=x)
        x[3:].exp_()
    assert (memory.now, memory.peak) == (0, 0)


def test_attention_of_more_rows_than_the_kernel_takes_keeps_its_scores() -> None:
    def peak(batch: int, heads: int) -> int:
        with FakeTensorMode(), Memory() as memory, EmulateCUDA():
            q = torch.empty(batch, heads, 49, 2, requires_grad=True)
            F.scaled_dot_product_attention(q, q, q).sum().backward()
        return memory.peak

    scores = 4 * 49 * 49 * (MAX_BATCH + 1)
    for shape in ((MAX_BATCH, 1), (1, MAX_BATCH)):
        assert peak(*shape) < scores
    for shape in ((MAX_BATCH + 1, 1), (1, MAX_BATCH + 1)):
        assert peak(*shape) > scores
