"""The benchmark of losses compares equal losses; checks ours against a second implementation."""

import importlib.util
import sys
from typing import Any

import pytest
import torch

from mmssl.core import UserError

from ..helpers.paths import REPO

FILE = REPO / 'tools/dev/benchmarks/losses.py'


@pytest.fixture(scope='module')
def losses() -> Any:
    spec = importlib.util.spec_from_file_location('losses_benchmark', FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'path', [str(FILE.parent), *sys.path])  # for what stands beside it
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('places', 'mask'), [([0] * 4, None), ([6, 6, 2, 2], None), ([6, 6], 0.4), ([6, 6], 0.0)]
)
def test_both_forms_are_one_loss(losses: Any, places: list[int], mask: float | None) -> None:
    task = losses.task(50, 3, places, mask).double()
    expected, found = (
        losses.run([task], form) for form in (losses.textbook, lambda t: losses.in_blocks(t, 16))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_memory_leaves_out_inputs_and_weight_gradients(losses: Any) -> None:
    """The textbook form holds at least all scores, the blocked one less than an eighth."""
    task = losses.task(20000, 20, [0] * 4)
    scores = 4 * 20 * 20000 * 4 / 1e6
    assert losses.peak([task], losses.textbook) > 2 * scores - task.weights[0].nbytes / 1e6
    assert losses.peak([task], lambda t: losses.in_blocks(t, 100)) < scores / 8


def test_a_case_that_is_not_there(losses: Any) -> None:
    with pytest.raises(UserError, match='--cases: no match; available: EsViT'):
        losses.main(['--cases', 'BYOL'])
