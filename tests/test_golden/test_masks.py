"""Recorded draws of SERE: masks from the official streams, crops."""

import json
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mmssl.datasets.transforms import PatchMask
from mmssl.datasets.transforms.patch_mask import place_blocks, scatter
from mmssl.datasets.transforms.random_view import sample_box

from ..helpers.paths import HERE

Golden = Callable[[str], SimpleNamespace]


STATS = json.loads((HERE / 'golden' / 'sere_mask_a' / 'stats.json').read_text())
MASKS = [name for name, entry in STATS.items() if 'draws' in entry]


def transform(name: str) -> PatchMask:
    """Build the transform of a recorded setting."""
    ratio, var = STATS[name]['pred_ratio'], STATS[name]['pred_ratio_var']
    if not isinstance(ratio, list):
        ratio, var = [ratio], [var]
    return PatchMask(ratio=ratio, var=var, shape=STATS[name]['shape'])


def draw(mask: PatchMask, side: int, rng: random.Random, other: np.random.RandomState) -> Any:
    """Draw as the official code does, from its two generators."""
    cells = np.zeros((side, side), dtype=bool)
    target = mask.sample_ratio(rng) * side * side
    if mask.shape == 'block':
        place_blocks(cells, target, rng)
    else:
        scatter(cells, int(target), other)
    return cells


@pytest.mark.parametrize('name', MASKS)
def test_masks_of_the_official_stream(name: str, golden: Golden) -> None:
    expect, mask, side = golden('sere_mask_a').expect, transform(name), STATS[name]['grid'][0]
    for seed, recorded in enumerate(expect[f'exact.{name}.masks_seed0to11'].bool()):
        ours = draw(mask, side, random.Random(seed), np.random.RandomState(seed))
        assert (ours == recorded.numpy()).all(), seed
    rng, other = random.Random(2024), np.random.RandomState(2024)
    masks = np.stack([draw(mask, side, rng, other) for _ in range(STATS[name]['draws'])])
    counts = np.bincount(masks.reshape(len(masks), -1).sum(1), minlength=side * side + 1)
    assert (counts == expect[f'stat.{name}.count_hist'].numpy()).all()
    assert (masks.mean(0) == expect[f'stat.{name}.position_prob'].numpy()).all()


def test_masks_of_a_whole_item(golden: Golden) -> None:
    """Two global and two local views from one stream; the local masks only use up numbers."""
    expect, mask, rng = golden('sere_mask_a').expect, PatchMask(), random.Random(77)
    for i, side in enumerate((14, 14, 6, 6)):
        ours = draw(mask, side, rng, np.random.RandomState(0))
        assert (ours == expect[f'whole_item.seed77.mask_{i}'].bool().numpy()).all()


@pytest.mark.parametrize('name', [name for name in MASKS if STATS[name]['grid'] == [14, 14]])
def test_statistics_of_the_transform(name: str, golden: Golden) -> None:
    """`PatchMask.draw` from streams of its own: means within four standard errors of both."""
    mask, stats, rng = transform(name), STATS[name], random.Random(5)
    masks = torch.stack([mask.sample(224, rng) for _ in range(2000)]).double()
    share = masks.mean((1, 2))
    error = 4 * stats['std_ratio'] * (2 / 2000) ** 0.5
    assert abs(float(share.mean()) - stats['mean_ratio']) <= error + 1e-12
    assert float(share.std(unbiased=False)) == pytest.approx(stats['std_ratio'], rel=0.15)
    assert float(share.max()) <= stats['max_ratio'] + 0.02
    empty = float((share == 0).double().mean())
    assert abs(empty - stats['fraction_empty']) < 4 * (0.25 * 2 / 2000) ** 0.5
    expected = golden('sere_mask_a').expect[f'stat.{name}.position_prob']
    error = 5 * (expected * (1 - expected) * 2 / 2000).sqrt()
    assert ((masks.mean(0) - expected).abs() <= error + 1e-12).all()


def test_masks_begin_at_an_epoch() -> None:
    recorded = STATS['start_epoch']
    mask = PatchMask(ratio=[0.3], var=[0.0], start_epoch=recorded['pred_start_epoch'])
    rng = random.Random(0)
    assert int(mask.sample(224, rng, epoch=4).sum()) == recorded['epoch4_masked'] == 0
    assert 0.75 * recorded['epoch5_masked'] < int(mask.sample(224, rng, epoch=5).sum()) <= 58


# crops --------------------------------------------------------------------------------------------
SCALES = [(0.4, 1.0)] * 10 + [(0.05, 0.4)] * 10


def test_crops_have_the_official_sizes(golden: Golden) -> None:
    recorded = golden('sere_mask_a').expect[
        'rrc.boxes_xywh_scale040_100_seed0to9_then_scale005_040_seed0to9'
    ]
    for i, (scale, box) in enumerate(zip(SCALES, recorded.tolist(), strict=True)):
        x, y, w, h = sample_box(500, 375, scale, (3 / 4, 4 / 3), random.Random(i % 10))
        assert [w, h] == box[2:]
        assert 0 <= x <= 500 - w and 0 <= y <= 375 - h


def test_crops_lie_anywhere_alike() -> None:
    """Ours draws x before y, the official code y before x: places agree as a distribution."""
    rng, places = random.Random(3), []
    while len(places) < 4000:
        x, y, w, h = sample_box(500, 375, (0.05, 0.4), (3 / 4, 4 / 3), rng)
        places.append(((x + 0.5) / (501 - w), (y + 0.5) / (376 - h)))
    for axis in np.sort(np.array(places).T, axis=1):
        distance = np.abs(axis - (np.arange(4000) + 0.5) / 4000).max()
        assert distance < 1.63 / 4000**0.5  # Kolmogorov-Smirnov, one percent
