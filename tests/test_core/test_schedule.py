"""Schedules: their shapes, ends and refusals."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssl.core import Schedule

from ..helpers.refusals import refuses
from ..helpers.schedules import values


@given(
    start=st.floats(1e-4, 10),
    final=st.floats(0, 10),
    low=st.floats(0, 1),
    warmup=st.integers(0, 4),
    more=st.integers(1, 5),
    per_epoch=st.integers(1, 9),
)
def test_linspace_rise_is_numpys(start, final, low, warmup, more, per_epoch):
    """DINO's ``cosine_scheduler`` for any numbers."""
    epochs, rise = warmup + more, warmup * per_epoch
    schedule = Schedule(start, final, warmup=warmup, warmup_start=low, warmup_reaches=True)
    steps = np.arange(epochs * per_epoch - rise)
    cosine = final + 0.5 * (start - final) * (1 + np.cos(np.pi * steps / len(steps)))
    # numpy's linspace of one number is its beginning
    expected = np.concatenate([np.linspace(low, start, rise), cosine])
    np.testing.assert_allclose(values(schedule, epochs, per_epoch), expected, rtol=1e-9, atol=1e-12)


def test_warm_up_shorter_than_an_epoch_rounds_to_iterations():
    schedule = Schedule(1.0, shape='constant', warmup=0.5)
    assert [schedule.value_at(i, 8, 4) for i in range(4)] == [0.0, 0.5, 1.0, 1.0]


def test_after_the_end_a_curve_stays_at_its_final_value():
    schedule = Schedule(1.0, 0.25)
    assert schedule.value_at(40, 40, 4) == pytest.approx(0.25, abs=1e-15)
    assert schedule.value_at(900, 40, 4) == pytest.approx(0.25, abs=1e-15)
    assert schedule.value_at(20, 40, 4) == pytest.approx(0.625, abs=1e-15)
    assert Schedule(1.0, 0.0, 'linear').value_at(10, 40, 4) == 0.75
    assert schedule.value_at(10, 40, 4) == pytest.approx(
        0.25 + 0.375 * (1 + math.sqrt(0.5)), abs=1e-15
    )


@pytest.mark.parametrize(
    ('settings', 'key', 'value', 'help_text'),
    [
        (dict(start=1.0, shape='cosinus'), 'lr.shape', 'cosinus', 'constant, linear, cosine'),
        (dict(start=1.0), 'lr.final', None, "'cosine'"),
        (dict(start=1.0, shape='linear'), 'lr.final', None, "'linear'"),
        (dict(start=1.0, final=0.0, warm_up=3), 'lr.warm_up', 3, 'did you mean warmup'),
        (dict(start=1.0, final=0.0, warmup=-1), 'lr.warmup', -1, '0 or more'),
        (dict(start=1.0, final=0.0, delay=-0.5), 'lr.delay', -0.5, '0 or more'),
        (dict(start=1.0, final=0.0, lag=-2), 'lr.lag', -2, '0 or more'),
    ],
)
def test_bad_settings_are_named(settings, key, value, help_text):
    with refuses(key, value) as caught:
        Schedule.build(settings, 'lr')
    assert help_text in str(caught.value)


def test_check_refuses_a_rise_longer_than_training():
    Schedule(1.0, 0.0, warmup=10).check(100, 10)
    with refuses('lr.warmup', 9) as caught:
        Schedule(1.0, 0.0, warmup=9, delay=2).check(100, 10, 'lr')
    assert re.findall(r'\d+ epochs', str(caught.value)) == ['11 epochs', '10 epochs']
