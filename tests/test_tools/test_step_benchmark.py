"""The benchmark of a step compares equal steps."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmssl.apis import load_config

from ..helpers.paths import REPO
from ..helpers.tiny import precision


def module(name: str) -> Any:
    return importlib.import_module(f'benchmarks.{name}')


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO / 'tools/dev')


OPTIONS = {
    'esvit/esvit_swin-tiny-w7_16xb32-amp-mcrop-coslr-300e_in1k.py': {
        'model.backbone.arch': (8, (1, 1), (1, 2)),
        'model.backbone.with_cp': True,
        'model.neck': dict(type='DINONeck', dims=(16, 16, 8), prototypes=50, chunk_size=20),
        'model.head.prototypes': 50,
    },
    'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py': {
        'model.backbone': dict(_delete_=True, type='ResNet', layers=(1, 1), width=4),
        'model.neck.dims': (32, 16, 8),
        'model.head.predictor.dims': (8, 16, 8),
    },
}


@pytest.fixture
def double() -> Iterator[None]:
    with precision(torch.float64):
        yield


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize('name', OPTIONS)
def test_textbook_and_ours_take_the_same_steps(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three steps with a rate that shows: losses and both branches' weights agree."""
    tool, cfg = module('step'), load_config(REPO / 'configs' / name, OPTIONS[name])
    cfg.optim_wrapper.pop('amp')
    monkeypatch.setattr(tool, 'RATE', 1e-2)
    built = tool.forms(cfg, tool.noise_batch(cfg, 3), False, tmp_path)
    before = {k: v.clone() for k, v in built['ours'].model.state_dict().items()}
    losses = {}
    for kind, form in built.items():
        torch.manual_seed(0)  # drop path
        losses[kind] = [form() for _ in range(3)]
    assert losses['ours'] == pytest.approx(losses['textbook'], rel=1e-10)
    ours, theirs = (built[k].model.state_dict() for k in ('ours', 'textbook'))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-8, atol=1e-9)
    for branch in ('student', 'teacher'):
        moved = [
            k for k, v in before.items() if k.startswith(branch) and not torch.equal(v, ours[k])
        ]
        assert any(k.endswith('weight') for k in moved)


def test_bytes_without_a_step(tmp_path: Path) -> None:
    """What ours saves grows with the batch, and of half the images about half is taken."""
    tool, name = module('step'), next(iter(OPTIONS))
    cfg = load_config(REPO / 'configs' / name, {**OPTIONS[name], 'optim_wrapper.amp': None})
    peaks = [tool.bytes_alone(cfg, batch, tmp_path).contestants for batch in (32, 64)]
    few, many = ({name: call() for name, call in peak.items()} for peak in peaks)
    assert many['textbook'] / few['textbook'] == pytest.approx(2, rel=0.05)
    assert many['ours'] / few['ours'] == pytest.approx(2, rel=0.05)
    assert many['ours'] < 0.5 * many['textbook']


def test_neighbours_vote_alike() -> None:
    tool = module('knn')
    torch.manual_seed(0)
    centres = torch.randn(tool.CLASSES, tool.WIDTH)
    (bank, labels), (queries, truth) = tool.made(3000, centres), tool.made(40, centres)
    found = {n: form() for n, form in tool.forms(bank, labels, queries, chunk=16).items()}
    assert {'ours', 'textbook', 'sklearn'} <= set(found)
    for name, classes in found.items():
        assert torch.equal(classes, found['ours']), name
    assert (found['ours'] == truth).float().mean() > 0.9


def test_networks_are_the_libraries() -> None:
    """Same parameters as timm's and torchvision's."""
    tool = module('inference')
    with torch.device('meta'):
        for entry in tool.NETWORKS.values():
            if entry.library:
                ours = tool.MODELS.build(entry.backbone)
                assert tool.count(ours) == tool.count(tool.library(entry.library))
