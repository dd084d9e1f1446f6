"""Objectives are computed in full precision under autocast."""

from collections import namedtuple

import pytest
import torch

from mmssl.core.precision import full_precision

Pair = namedtuple('Pair', 'a b')


@full_precision
def spy(*values, **named):
    inner = [
        v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])
    ]
    kinds = [v.dtype for v in (*inner, *named.values()) if isinstance(v, torch.Tensor)]
    x = torch.ones(2, 2)
    return kinds, (x @ x).dtype


@pytest.mark.parametrize('half', [torch.float16, torch.bfloat16])
def test_half_becomes_single_and_double_stays(half):
    x = torch.ones(2, dtype=half)
    kinds, _ = spy(x, [x, x.double()], Pair(x, x.float()), 3, named=x)
    single, double = torch.float32, torch.float64
    # a named tuple is passed as it is: it is a record, not a list of operands
    assert kinds == [single, single, double, half, single, single]


def test_autocast_is_off_inside():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outside = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        _, inside = spy()
    assert (outside, inside) == (torch.bfloat16, torch.float32)
