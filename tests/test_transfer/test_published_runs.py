"""Every published config, shrunk: from a pretraining file through two iterations."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmssl.checkpoint import read
from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.transfer.pretrained import PretrainHook, start_from
from mmssl.transfer.runner import Runner
from mmssl.transfer.settings import drop_amp_without_gpu
from mmssl.transfer.settings import read_transfer_config as read_config

from ..helpers.cards import CARDS, FILES, library
from ..helpers.command import call, refused
from ..helpers.shrinking import on_shapes, shrink, two_iterations
from ..helpers.transfer_nets import SMALL

pytestmark = pytest.mark.transfer
# one network and library each time; the others every night
DAILY = (
    'mask-rcnn_swin-t-moby-pre_fpn_amp-ms-crop-1x_coco',
    'mask-rcnn_r50-swav-pre_fpn_1x_coco',
    'vit-small-ibot-pre_upernet_4xb4-amp-160k_ade20k-512x512',
)
assert set(DAILY) <= set(CARDS)
RUNS = [n if n in DAILY else pytest.param(n, marks=pytest.mark.nightly) for n in CARDS]
NETWORKS = {'swin-t': 'swin', 'vit-': 'vit', '_r50-': 'resnet'}
TTA = """
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
"""


def kept(name: str) -> tuple[str, ...]:
    """Return how names of the backbone begin that stay what they were."""
    if '_r50-' in name:
        return ('conv1.', 'bn1.', 'layer1.') if '-sup-' in name else ('conv1.', 'bn1.')
    if '_linear_' in name:
        return ('net.',)
    return ('net.norm.',) if name.startswith('cascade-mask-rcnn_vit') else ()


def supervised(source: Path, file: Path) -> Path:
    """Write a network as microsoft (Swin) or torchvision (ResNet) publish classifiers."""
    state = read(source)['state_dict']
    swin = any('layers.' in key for key in state)
    state = LAYOUTS['swin' if swin else 'torchvision'].restore(state)
    width = state['norm.weight' if swin else 'layer4.1.bn2.weight'].numel()
    head = dict(weight=torch.randn(1000, width), bias=torch.randn(1000))
    state = state | {f'{"head" if swin else "fc"}.{key}': value for key, value in head.items()}
    torch.save({'model': state} if swin else state, file)
    return file


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longer than two iterations: formatted configs, versions of tools."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))
    monkeypatch.setattr(Runner, '_log_env', lambda self, cfg: None)


@pytest.mark.usefixtures('quick')
@pytest.mark.parametrize('name', RUNS)
def test_two_iterations_from_a_pretraining_file(name, pretrained, scenes, tmp_path):
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()
    source = pretrained(next(kind for word, kind in NETWORKS.items() if word in name))
    file = supervised(source, tmp_path / 'supervised.pth') if '-sup-' in name else source
    cfg = read_config(str(FILES[name]), dict(pretrained=str(file)))
    on_shapes(cfg, scenes)
    shrink(cfg)
    two_iterations(cfg)
    cfg.work_dir, cfg.visualizer.name = str(tmp_path), name  # one of that name lives on
    drop_amp_without_gpu(cfg)
    start = start_from(cfg, library(name))
    assert '0 missing, 0 unexpected' in start.line
    runner = Runner.from_cfg(cfg)
    runner.register_hook(PretrainHook(start))
    runner.train()
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 2 and 0 < max(row['loss'] for row in rows) < 100
    rate = max(runner.optim_wrapper.get_lr()['lr'])
    assert rate == pytest.approx(CARDS[name].lr, rel=1e-4)
    compare(runner.model.backbone, read(source)['state_dict'], kept(name))


def compare(backbone: torch.nn.Module, source: dict[str, torch.Tensor], kept: tuple[str, ...]):
    """All weights came from the file and moved, but those of frozen parts."""
    stem = 'net.' if hasattr(backbone, 'net') else ''
    for key, value in backbone.named_parameters():
        was = source.get(f'backbone.net.{key.removeprefix(stem)}')
        if was is None or was.shape != value.shape:
            continue  # native Swin has its own names; `start_from` compared them
        same = torch.equal(was, value)
        assert same == key.startswith(kept), key


@pytest.mark.usefixtures('quick')
def test_views_that_are_none_change_nothing(scenes, tmp_path, capsys):
    """--tta with one size, not flipped, measures what the plain test does; flipping differs."""
    config, found = tmp_path / 'tiny.py', {}
    (shapes,) = SMALL.glob('fpn_vit-conv_*_shapes.py')
    loader = 'test_dataloader = dict(num_workers=0, persistent_workers=False)'
    for name, flips in dict(plain=None, one='0.0,', two='0.0, 1.0').items():
        views = f'flips = [dict(type="RandomFlip", prob=p) for p in ({flips})]' if flips else ''
        config.write_text(f'_base_ = {str(shapes)!r}\n{loader}\n{views}\n' + (TTA if flips else ''))
        words = ('--out', tmp_path / f'{name}.json', '--out-item', 'metrics', '--cfg-options')
        words = (config, 'random', *(['--tta'] if flips else []), *words, f'data_root={scenes}')
        done = call(capsys, *words, 'randomness.seed=3', script='tools/test.py')
        assert done.code == 0, done.err
        found[name] = json.loads((tmp_path / f'{name}.json').read_text())
    assert found['one'] == found['plain'] != found['two']
    config.write_text(f'_base_ = {str(shapes)!r}\n{loader}')
    words = (config, 'random', '--tta', '--cfg-options', f'data_root={scenes}')
    said = refused(call(capsys, *words, script='tools/test.py'))
    assert 'has no tta_model and tta_pipeline for --tta' in said
