"""Histories of scalars: mmengine's statistics, in constant time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer, MessageHub

from mmssl.engine.scalar_history import ScalarHistory, keep_histories

NUMBER = st.floats(-5, 5, allow_nan=False)


@given(st.lists(NUMBER, min_size=1, max_size=4), st.lists(NUMBER, max_size=40), st.integers(1, 9))
def test_statistics_are_those_of_mmengine(first, more, longest):
    theirs, ours = HistoryBuffer(first, [1] * len(first)), ScalarHistory(first, [1] * len(first))
    theirs.max_length = ours.max_length = longest
    for i, value in enumerate(more):
        for history in (theirs, ours):
            history.update(value, 1 + i % 3)
    for a, b in zip(theirs.data, ours.data, strict=True):
        # mmengine shortens a history only when it grows
        assert np.array_equal(a[-longest:], b)
    for name in ('mean', 'max', 'min'):
        window = min(3, longest)
        assert theirs.statistics(name, window) == ours.statistics(name, window)
    assert ours.statistics('current') == (first + more)[-1]


def test_a_hubs_scalars_are_kept_in_them():
    hub = MessageHub.get_instance('scalar histories')
    hub.update_scalar('train/loss', 1.5)
    keep_histories(hub)
    hub.update_scalar('train/loss', 2.5, 3)
    hub.update_scalar('train/lr', 0.1)
    loss = hub.get_scalar('train/loss')
    assert type(loss) is type(hub.get_scalar('train/lr')) is ScalarHistory
    assert [x.tolist() for x in loss.data] == [[1.5, 2.5], [1, 3]]


@pytest.mark.parametrize('length', [1000, 8000])
def test_a_value_costs_the_same_at_any_length(length):
    """Numbers that are copied, counted: at most three for each value, however many there are."""
    history, copied = ScalarHistory([0.0], [1]), 0
    for i in range(length):
        before = history._numbers
        history.update(float(i))
        copied += history._numbers.shape[1] if history._numbers is not before else 0
    assert copied <= 4 * length
    assert history.data[0][-1] == length - 1
