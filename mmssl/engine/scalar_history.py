"""Histories of logged scalars that take a new value in constant time, however long they are."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer, MessageHub
from numpy.typing import NDArray

Numbers = NDArray[Any]


class ScalarHistory(HistoryBuffer):
    """mmengine's buffer in arrays that double when they are full, where mmengine copies all."""

    def __init__(self, log_history: Sequence[float], count_history: Sequence[float]) -> None:
        super().__init__(log_history, count_history)
        self._numbers: Numbers = np.array([log_history, count_history], dtype=np.float64)  # (2, n)
        self._length = len(log_history)

    def update(self, log_val: float, count: float = 1) -> None:
        """Append a value and the number of samples that it stands for."""
        if self._length == self._numbers.shape[1]:
            kept = self._numbers[:, -self.max_length :]
            self._length = kept.shape[1]
            self._numbers = np.concatenate([kept, np.empty_like(kept)], 1)
        self._numbers[:, self._length] = log_val, count
        self._length += 1

    # what mmengine's statistics read
    @property
    def _log_history(self) -> Numbers:
        return self._numbers[0, : self._length][-self.max_length :]

    @_log_history.setter
    def _log_history(self, _: Any) -> None:
        """Ignore the copy that mmengine's constructor makes."""

    @property
    def _count_history(self) -> Numbers:
        return self._numbers[1, : self._length][-self.max_length :]

    @_count_history.setter
    def _count_history(self, _: Any) -> None:
        """Ignore the copy that mmengine's constructor makes."""


class Histories(OrderedDict[str, HistoryBuffer]):
    """The scalars of a message hub: each new one gets a `ScalarHistory`."""

    def __setitem__(self, name: str, history: HistoryBuffer) -> None:
        values, counts = history.data
        super().__setitem__(name, ScalarHistory(values.tolist(), counts.tolist()))


def keep_histories(hub: MessageHub) -> MessageHub:
    """Let a message hub keep its scalars in histories of constant cost, and return it."""
    hub._log_scalars = Histories(hub.log_scalars)  # it has no other way to choose their class
    return hub
