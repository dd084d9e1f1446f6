"""The oracles in ``tests/helpers/official`` make the tensors that the official codes made."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from mmssl.checkpoint import read

from ..helpers.official import METHODS, restore
from ..replay.reduced import PREFIX, mask, reduce

# recorded steps, and their tensors that only rounding moves
STEPS = {
    'esvit_cvt_vr_a': [],
    'esvit_swin_vr_a': [],
    'moby_swin_a': [],
    'mocov2_r50_a': [],
    'mocov3_vit_a': ['after.module.base_encoder.norm.bias'],
    'sere_vit_a': [],
    'sere_vit_local_a': [],
    'swav_r50_a': ['after.module.projection_head.0.bias'],
}


@pytest.mark.parametrize('name', STEPS)
def test_oracle_makes_the_recorded_tensors(name: str, golden: Callable[[str], Any]) -> None:
    case = golden(name)
    block = case.case['replay']
    official = METHODS[block['method']](block)
    restore(official, read(case.folder / 'official.pth'))
    at = block['clock']['step']
    for key, value in block['used'].items():
        assert official.used(at)[key] == pytest.approx(value, rel=1e-12), key
    found = official.step(case.batch, at)
    moved_by_rounding = []
    for name_in_file, expected in case.expect.items():
        key = name_in_file.removeprefix(PREFIX)
        if key.startswith('npatch.'):  # a number of regions, which shapes tell already
            continue
        ours, expected = found[key].double(), expected.double()
        steady = reproducible(key, found)
        if key != name_in_file:
            ours = reduce(key, ours)
            steady = None if steady is None else mask(key, steady.expand_as(found[key]))
            limit = 1e-9 * float(expected[0].clamp_min(1e-3))
        else:
            expected = expected.view_as(ours)
            limit = 1e-9 * float(expected.abs().max().clamp_min(1e-3))
        if steady is not None:
            ours, expected = ours[steady], expected[steady]
        if not expected.numel():
            moved_by_rounding.append(key)
            continue
        assert float((ours - expected).abs().max()) <= limit, key
    assert moved_by_rounding == STEPS[name]


def reproducible(key: str, found: dict[str, Tensor]) -> Tensor | None:
    """Mark the elements of a trained tensor that an adaptive optimizer moves reproducibly."""
    if not key.startswith('after.'):
        return None
    name = key.removeprefix('after.').removeprefix('student.').removeprefix('teacher.')
    grad = found.get(f'grad.{name}', found.get(f'grad.module.{name}'))
    if grad is None:
        return None
    largest = grad.abs().max()
    return (grad.abs() >= 1e-12 * largest) & (largest >= 1e-12)
