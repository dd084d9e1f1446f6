"""mmdet's and mmseg's own recipes, made small, train ten steps from the files of seven methods."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmssl.checkpoint.layouts import LAYOUTS
from mmssl.transfer.pretrained import PretrainHook, start_from
from mmssl.transfer.runner import Runner
from mmssl.transfer.settings import drop_amp_without_gpu, read_transfer_config

from ..helpers.shrinking import narrow, on_shapes
from ..helpers.transfer_nets import NETS, THEIRS

pytestmark = pytest.mark.transfer
STEPS = 10
RECIPES = {
    'mmdet swin': 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
    'mmdet resnet': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'mmdet resnet, one stage': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'mmseg swin':
        'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'mmseg vit': 'mmseg::vit/vit_deit-s16_upernet_8xb2-80k_ade20k-512x512.py',
    'mmseg resnet': 'mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py',
}  # fmt: skip
# (recipe, layout of the method's file); those of each day have one network and library each
DAILY = [('mmdet swin', 'moby'), ('mmseg vit', 'ibot')]
NIGHTLY = [
    ('mmdet swin', 'esvit'),
    ('mmdet resnet', 'mocov2'),
    ('mmdet resnet', 'openselfsup_mocov2'),
    ('mmdet resnet', 'swav'),
    ('mmdet resnet, one stage', 'mocov3'),
    ('mmseg swin', 'moby'),
    ('mmseg swin', 'esvit'),
    ('mmseg vit', 'dino'),
    ('mmseg vit', 'sere'),
    ('mmseg vit', 'mocov3'),
    ('mmseg resnet', 'mocov2'),
    ('mmseg resnet', 'swav'),
]
RUNS = DAILY + [pytest.param(*run, marks=pytest.mark.nightly) for run in NIGHTLY]
WIDTHS = {'swin': [12, 24, 48, 96], 'resnet': [8, 16, 32, 64], 'vit': [24] * 4}


def official(layout: str, kind: str, file: Path) -> Path:
    """Write a training file of a method, as its own code lays it out."""
    table = LAYOUTS[layout]
    ours: dict[str, torch.Tensor] = {}
    for seed, branch in enumerate(('student', 'teacher')):
        torch.manual_seed(seed)
        net = NETS[kind]()
        for parameter in net.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        ours |= {f'{branch}.backbone.{key}': value for key, value in net.state_dict().items()}
    relation = ['channel.projection.0'] if layout == 'sere' else []
    for neck in ('project.0', 'view.mlp.0', *relation):
        ours[f'student.neck.{neck}.weight'] = torch.ones(2, 2)
    ours['student.backbone.mask_token'] = torch.ones(1, 2)
    state = table.restore(ours)
    content: dict[str, Any] = {table.roots[0]: state} if table.roots else {}
    for section in table.sections:
        start = f'{section}.'
        content[section] = {k.removeprefix(start): state[k] for k in state if k.startswith(start)}
    torch.save(content, file)
    return file


def shrink(cfg: Config, kind: str, library: str) -> None:
    """Make the recipe's network that of the file, its heads narrow, its schedule ten steps."""
    backbone = cfg.model.backbone
    sizes = {key: value for key, value in THEIRS[kind].items() if key not in ('type', 'norm_cfg')}
    if kind == 'vit':
        del sizes['patch_bias']  # mmseg's recipes have none; the file has
    backbone.update(sizes)
    widths = WIDTHS[kind]
    if library == 'mmdet':
        for part in ('neck', 'rpn_head', 'roi_head', 'bbox_head', 'train_cfg'):
            narrow(cfg.model.get(part) or {})
        cfg.model.neck.in_channels = widths
        cfg.train_cfg.max_epochs = STEPS // 2
        cfg.train_cfg.val_interval = STEPS
    else:
        decode = cfg.model.decode_head
        decode.update(channels=16, num_classes=9)
        decode.in_channels = widths[-1] if decode.type == 'PSPHead' else widths
        index = cfg.model.auxiliary_head.in_index
        cfg.model.auxiliary_head.update(in_channels=widths[index], channels=16, num_classes=9)
        cfg.model.data_preprocessor.size = (64, 64)
        cfg.train_cfg.max_iters = STEPS
    cfg.default_hooks.logger.interval = 1
    for task in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{task}_{part}'] = None


@pytest.mark.parametrize(('recipe', 'layout'), RUNS)
def test_ten_steps(
    recipe: str, layout: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what takes longer than ten steps: formatted configs, versions of tools
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))
    monkeypatch.setattr(Runner, '_log_env', lambda self, cfg: None)
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict.clear()
    library, kind = recipe.partition(',')[0].split()
    (tmp_path / 'c.py').write_text(f'_base_ = {RECIPES[recipe]!r}\n')
    options: dict[str, Any] = {'pretrained': str(official(layout, kind, tmp_path / 'x.pth'))}
    if recipe == 'mmseg resnet':  # its deep stem is no method's
        options['model.backbone.type'] = 'ResNet'
    cfg = read_transfer_config(str(tmp_path / 'c.py'), options)
    on_shapes(cfg, scenes)
    shrink(cfg, kind, library)
    cfg.work_dir, cfg.visualizer.name = str(tmp_path), f'{recipe} {layout}'
    drop_amp_without_gpu(cfg)
    start = start_from(cfg, library)
    assert start is not None and '0 missing, 0 unexpected' in start.line
    runner = Runner.from_cfg(cfg)
    runner.register_hook(PretrainHook(start))
    runner.train()
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row['step'] for row in rows] == list(range(1, STEPS + 1))
    assert all(0 < row['loss'] < 100 for row in rows)
