"""The benchmark of deterministic mode compares equal results with what torch would refuse."""

import importlib
from typing import Any

import pytest
import torch

from ..helpers.deterministic import RaisingOperators
from ..helpers.paths import REPO


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    return importlib.import_module('benchmarks.deterministic')


SMALL = [
    ('resizing', ((2, 3, 5, 5), 8, 'bicubic')),
    ('resizing', ((2, 3, 5, 5), 10, 'bilinear')),
    ('alignment', (2, 2, 5)),
    ('losses', (3, 4, 5)),
]


@pytest.mark.parametrize(('task', 'sizes'), SMALL)
def test_both_forms_are_one_and_torchs_is_refused(
    deterministic: Any, task: str, sizes: tuple[Any, ...]
) -> None:
    x, product, torchs = getattr(deterministic, task)(*sizes)
    x = x.detach().double().requires_grad_()
    with RaisingOperators() as raising:
        ours = product(x), deterministic.gradient(x, product)
    assert raising.found == set()
    with RaisingOperators() as raising:
        theirs = torchs(x), deterministic.gradient(x, torchs)
    assert raising.found != set()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)  # sampling grids are float32


def test_every_case_is_built(deterministic: Any) -> None:
    assert len(deterministic.comparisons()) == len(deterministic.TASKS) == 5
