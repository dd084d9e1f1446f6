"""One published config of each family, shrunk: from a pretraining file through two iterations."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmssl.checkpoint import read
from mmssl.checkpoint.dialects import DIALECTS
from mmssl.transfer.pretrain import PretrainHook, start_from
from mmssl.transfer.runner import Runner
from mmssl.transfer.settings import fit
from mmssl.transfer.settings import read as read_config

from ..test_tools.command import call, refused
from .cards import FILES, library
from .conftest import RESNET, SMALL, SWIN, VIT

pytestmark = pytest.mark.transfer
SHAPES = {'mmdet': 'shapes_instance', 'mmseg': 'shapes_semantic'}
WIDTHS = ('in_channels', 'out_channels', 'feat_channels', 'conv_out_channels', 'fc_out_channels')
BACKBONES = {
    'SwinTransformer': dict(embed_dims=12, depths=SWIN['arch'][1], num_heads=SWIN['arch'][2],
                            window_size=4),
    'ResNet': dict(depth=18, base_channels=RESNET['width'], stem_channels=RESNET['width']),
    'mmssl.VisionTransformer': VIT,
}  # fmt: skip
STAGES = {'SwinTransformer': [12, 24, 48, 96], 'ResNet': [8, 16, 32, 64]}
TTA = """
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        flips, [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
"""
# published config: the network of the file, parts that stay what they were
CASES = {
    'mask-rcnn_swin-t-moby-pre_fpn_amp-ms-crop-1x_coco': ('swin', ()),
    'cascade-mask-rcnn_swin-t-sup-pre_fpn_amp-ms-crop-3x_coco': ('swin', ()),
    'cascade-mask-rcnn_vit-small-ibot-pre_fpn_8xb4-amp-ms-crop-1x_coco': ('vit', ('net.norm.',)),
    'cascade-mask-rcnn_vit-base-ibot-pre_sfp_8xb2-amp-ms-crop-1x_coco': ('vit', ('net.norm.',)),
    'mask-rcnn_r50-mocov2-pre_fpn_1x_coco': ('resnet', ('conv1.', 'bn1.')),
    'mask-rcnn_r50-sup-pre_fpn_ms-2x_coco': ('resnet', ('conv1.', 'bn1.', 'layer1.')),
    'swin-tiny-moby-pre_upernet_8xb2-160k_ade20k-512x512': ('swin', ()),
    'vit-base-ibot-pre_upernet_8xb2-amp-160k_ade20k-512x512': ('vit', ()),
    'vit-base-ibot-pre_linear_4xb4-amp-160k_ade20k-512x512': ('vit', ('net.',)),
}


def narrow(node: Any) -> None:
    """Shrink heads and necks in place."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list, tuple)):
            narrow(value)
    if isinstance(node, dict):
        node.update({k: 16 for k in WIDTHS if k in node and isinstance(node[k], int)})
        node.update({k: 8 for k in ('num_classes',) if k in node})
        node.update({k: 32 for k in ('num',) if k in node})


def shrink(cfg: Config) -> None:
    """Make a model small, and its backbone that of the fixtures' files."""
    model = cfg.model
    backbone = model.backbone
    backbone.update(BACKBONES[backbone.type])
    if backbone.type == 'mmssl.VisionTransformer':
        last = backbone.out_indices == (11,)
        backbone.out_indices = (3,) if last else (0, 1, 2, 3)
        backbone.frozen_stages = min(backbone.get('frozen_stages', -1), 4)
        rules = (cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules', [])
        deep = re.compile(r'blocks\\\.(?:[4-9]|1\d)')
        if rules:
            cfg.optim_wrapper.paramwise_cfg.rules = [
                rule for rule in rules if not deep.search(rule.get('match', ''))
            ]
    widths = STAGES.get(backbone.type, [24] * 4)
    for part in ('neck', 'rpn_head', 'roi_head', 'train_cfg'):
        narrow(model.get(part) or {})
    if cfg.default_scope == 'mmseg':
        return shrink_segmentor(model, widths)
    necks = model.neck if isinstance(model.neck, list) else [model.neck]
    for neck in necks:  # patches of 8: strides 4 to 32 are scales 2 to 1/4
        if neck.type == 'mmseg.Feature2Pyramid':
            neck.update(embed_dim=24, rescales=[2, 1, 0.5, 0.25])
        elif neck.type == 'mmssl.SimpleFPN':
            neck.update(in_channels=24, out_channels=16, scales=(2, 1, 0.5))
        else:
            neck.update(in_channels=widths)


def shrink_segmentor(model: ConfigDict, widths: list[int]) -> None:
    if model.get('neck'):
        model.neck.update(embed_dim=24, rescales=[2, 1, 0.5, 0.25])
    head = model.decode_head
    linear = head.type == 'FCNHead'
    head.update(in_channels=widths, channels=sum(widths) if linear else 16, num_classes=9)
    if model.get('auxiliary_head'):
        model.auxiliary_head.update(in_channels=widths[2], channels=16, num_classes=9)
    model.data_preprocessor.size = (64, 64)


def two_iterations(cfg: Config) -> None:
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    if cfg.default_scope == 'mmseg':
        cfg.train_cfg.max_iters = 2
    else:
        cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = cfg.param_scheduler[1:]  # steps that float32 can see, no warm-up
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.update(interval=2 - (cfg.default_scope == 'mmdet'))
    for task in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{task}_{part}'] = None


def supervised(source: Path, file: Path) -> Path:
    """Write a network as microsoft (Swin) or torchvision (ResNet) publish classifiers."""
    state = read(source)['state_dict']
    swin = any('layers.' in key for key in state)
    state = DIALECTS['swin' if swin else 'torchvision'].restore(state)
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
@pytest.mark.parametrize('name', CASES)
def test_two_iterations_from_a_pretraining_file(name, pretrained, scenes, tmp_path):
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()
    network, kept = CASES[name]
    file = pretrained(network)
    if '-sup-' in name:
        file = supervised(file, tmp_path / 'supervised.pth')
    cfg = read_config(str(FILES[name]), dict(pretrain=str(file)))
    shapes = SMALL / '_base_' / f'{SHAPES[library(name)]}.py'
    cfg.train_dataloader = Config.fromfile(shapes).train_dataloader
    cfg.train_dataloader.dataset.data_root = str(scenes)
    shrink(cfg)
    two_iterations(cfg)
    cfg.work_dir, cfg.visualizer.name = str(tmp_path), name  # one of that name lives on
    fit(cfg)
    start = start_from(cfg, library(name))
    assert '0 missing, 0 unexpected' in start.line
    runner = Runner.from_cfg(cfg)
    runner.register_hook(PretrainHook(start))
    runner.train()
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    losses = [json.loads(line)['loss'] for line in log.read_text().splitlines()]
    assert len(losses) == 2 and 0 < max(losses) < 100
    compare(runner.model.backbone, read(pretrained(network))['state_dict'], kept)


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
