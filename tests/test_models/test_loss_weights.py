"""Losses of two tasks are added with their weights."""

import pytest
from torch.testing import assert_close

from ..helpers.methods import batch, build


@pytest.mark.parametrize(
    ('name', 'first', 'second'), [('esvit', 'view', 'region'), ('ibot', 'cls', 'patch')]
)
@pytest.mark.parametrize('weights', [(1.0, 0.1), (0.5, 0.5)])
def test_a_loss_is_the_weighted_sum_of_its_parts(name, first, second, weights):
    views, info = batch(name, 4)
    parts = build(name, weights=weights).loss(views, info)
    plain = build(name).loss(views, info)
    oracle = weights[0] * plain[first] + weights[1] * plain[second]
    assert_close(parts['loss'], oracle, rtol=1e-15, atol=0)
