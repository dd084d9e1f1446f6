"""Values of schedules, and their comparison with recorded ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmssl.core import Schedule


def values(schedule: Schedule, epochs: int, per_epoch: int) -> NDArray[Any]:
    """Return the schedule at every iteration."""
    return np.array(
        [schedule.value_at(i, epochs * per_epoch, per_epoch) for i in range(epochs * per_epoch)]
    )


def agree(ours: NDArray[Any], recorded: Tensor) -> None:
    expected = recorded.numpy()
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
