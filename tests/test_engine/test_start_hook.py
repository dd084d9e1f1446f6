"""The start of a run that goes on from an encoder: measured, shown beside, compared."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmssl.engine import Runner, StartHook
from mmssl.engine.hooks.start_hook import FILE, interval
from mmssl.engine.step_status import StepStatus

from ..helpers.tiny import log, make_runner, weights


def test_the_interval_is_that_of_two_shares():
    """By simulation of 20,000 pairs of experiments."""
    generator = torch.Generator().manual_seed(0)
    a, b, n = 0.8, 0.7, 300
    shots = torch.rand(2, 20_000, n, generator=generator)
    found = (shots[0] < a).float().mean(1) - (shots[1] < b).float().mean(1)
    share = ((found - (a - b)).abs() * 100 <= interval(80, 70, n)).float().mean()
    assert share.item() == pytest.approx(0.95, abs=0.01)
    assert interval(50, 50, 100) == pytest.approx(196 * math.sqrt(2 * 0.25 / 100))


@pytest.fixture
def encoder(tmp_path: Path, tiny_config: Any) -> Path:
    """The tiny run's own file."""
    runner = make_runner(tiny_config('vit'), tmp_path / 'first', train_cfg__max_epochs=1)
    runner.train()
    return tmp_path / 'first' / 'epoch_1.pth'


def go_on(config: Path, work_dir: Path, encoder: Path, **more: Any) -> Runner:
    return make_runner(config, work_dir, pretrained=str(encoder), **more)


def test_a_run_goes_on_from_an_encoder(encoder: Path, tmp_path: Path, tiny_config: Any) -> None:
    work_dir = tmp_path / 'run'
    runner = go_on(tiny_config('vit'), work_dir, encoder, train_cfg__max_epochs=2)
    runner.train()
    start = json.loads((work_dir / FILE).read_text())['metrics']
    assert set(start) >= {'knn/top1'}
    text = log(work_dir)
    assert text.count(f'(start {start["knn/top1"]:.1f} %)') == 2, 'of both epochs, not the start'
    first = torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']
    before = torch.load(encoder, weights_only=False)['state_dict']
    after = weights(runner)
    moved = {
        part: [not torch.equal(before[k], first[k]) for k in before if k.startswith(part)]
        for part in ('student.backbone.net.blocks', 'student.neck')
    }
    assert not any(moved['student.backbone.net.blocks']), 'frozen in the first epoch'
    assert any(moved['student.neck'])
    key = 'student.backbone.net.blocks.0.attn.qkv.weight'
    assert not torch.equal(after[key], before[key])
    resumed = go_on(tiny_config('vit'), work_dir, encoder, train_cfg__max_epochs=3, resume=True)
    resumed.train()
    assert resumed.step_status.start_metrics['knn/top1'] == start['knn/top1']


def test_a_fall_below_the_start_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    runner: Any = SimpleNamespace(
        work_dir=str(tmp_path),
        iter=0,
        step_status=StepStatus(),
        logger=SimpleNamespace(warning=said.append),
        val_dataloader=SimpleNamespace(dataset=range(400)),
    )
    hook = StartHook()
    hook.before_train(runner)
    hook.after_val_epoch(runner, {'knn/top1': 80.0, 'knn/top5': 95.0})
    runner.iter = 10
    width = interval(80, 75, 400)
    assert 5 < width < 6
    hook.after_val_epoch(runner, {'knn/top1': 75.0})
    hook.after_val_epoch(runner, {'knn/top1': 90.0})
    assert said == []
    hook.after_val_epoch(runner, {'knn/top1': 70.0})
    (line,) = said
    assert '80.0' in line and '70.0' in line and f'{interval(80, 70, 400):.1f}' in line
