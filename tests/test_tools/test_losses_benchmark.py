"""The benchmark of losses compares equal losses; checks ours against a second implementation."""

import importlib
from typing import Any

import pytest
import torch

from ..helpers.paths import REPO


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    return importlib.import_module('benchmarks.losses')


@pytest.mark.parametrize(
    ('places', 'mask'), [([0] * 4, None), ([6, 6, 2, 2], None), ([6, 6], 0.4), ([6, 6], 0.0)]
)
def test_both_forms_are_one_loss(losses: Any, places: list[int], mask: float | None) -> None:
    task = losses.task(50, 3, places, mask).double()
    expected, found = (
        losses.run([task], form) for form in (losses.textbook, lambda t: losses.chunked(t, 16))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_memory_leaves_out_inputs_and_weight_gradients(losses: Any) -> None:
    """The textbook form holds at least all scores, the chunked one less than an eighth."""
    task = losses.task(20000, 20, [0] * 4)
    scores = 4 * 20 * 20000 * 4 / 1e6
    compared = losses.distillation([task], 100)
    found = importlib.import_module('benchmarks.timing').compare(compared, 1)['contestants']
    assert found['textbook']['facts']['MB'] > 2 * scores - task.weights[0].nbytes / 1e6
    assert found['ours']['facts']['MB'] < scores / 8
