"""Whole runs of the official programs, through config, runner, hooks and loop, to the last bit.

Every step's losses, schedules and gradient norm, and every tensor at the end; then the same run
stopped and resumed by a training file of ours.
"""

from typing import Any

import pytest

from ..helpers.paths import GOLDEN
from ..replay.whole import RUNS, WholeRun

pytestmark = pytest.mark.slow

# also those of a folder that --golden names
NAMES = sorted({*RUNS, *(case.name for case in GOLDEN.glob('*_traj_*'))})


@pytest.mark.parametrize('name', NAMES)
def test_a_whole_run_is_the_official_one(name: str) -> None:
    done = WholeRun(GOLDEN / name, 1e-9)
    assert done.failures == []
    count = sum(group.count for group in done.groups.values())
    assert count == RUNS.get(name, count)


# the same runs by other ways to the same numbers
SWITCHES: list[tuple[str, dict[str, Any], float]] = [
    ('dino_vit_traj_a', dict(model__neck__chunk_size=7), 1e-9),
    ('esvit_swin_traj_a', dict(model__neck__chunk_size=5, model__backbone__with_cp=True), 1e-9),
    ('ibot_vit_traj_a', dict(model__neck__chunk_size=7, model__backbone__with_cp=True), 1e-9),
    ('mocov2_traj_a', dict(model__backbone__with_cp=True), 1e-9),
    ('sere_accumulate_traj_a', dict(model__neck__chunk_size=11), 1e-9),
    ('mocov3_vit_traj_a', dict(optim_wrapper__optimizer__fused=True), 1e-7),
    ('esvit_v_traj_a', dict(optim_wrapper__optimizer__foreach=True), 1e-9),
    ('swav_traj_a', dict(train_dataloader__num_workers=2), 1e-9),
]


@pytest.mark.parametrize(('name', 'options', 'tol'), SWITCHES)
def test_the_same_run_by_another_way(name: str, options: dict[str, Any], tol: float) -> None:
    given = {key.replace('__', '.'): value for key, value in options.items()}
    assert WholeRun(GOLDEN / name, tol, options=given).failures == []
