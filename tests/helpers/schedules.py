"""Values of schedules, and their comparison with recorded ones."""

import numpy as np


def values(schedule, epochs, per_epoch):
    """Return the schedule at every iteration."""
    return np.array(
        [schedule.value_at(i, epochs * per_epoch, per_epoch) for i in range(epochs * per_epoch)]
    )


def agree(ours, expected):
    expected = expected.numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
