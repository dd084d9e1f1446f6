"""Published configs made small: narrow networks, images an eighth as large, two iterations."""

from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from .transfer_nets import RESNET, SMALL, SWIN, VIT

WIDTHS = ('in_channels', 'out_channels', 'feat_channels', 'conv_out_channels', 'fc_out_channels')
BACKBONES = {
    'SwinTransformer': dict(embed_dims=12, depths=SWIN['arch'][1], num_heads=SWIN['arch'][2],
                            window_size=4),
    'ResNet': dict(depth=18, base_channels=RESNET['width'], stem_channels=RESNET['width']),
    'mmssl.VisionTransformer': VIT,
}  # fmt: skip
SIZES = ('scale', 'scales', 'crop_size')
STAGES = {'SwinTransformer': [12, 24, 48, 96], 'ResNet': [8, 16, 32, 64]}


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


def eighth(node: Any) -> Any:
    """Return a pipeline whose sizes of images and crops are divided by eight."""
    if isinstance(node, dict):
        return {k: smaller(v) if k in SIZES else eighth(v) for k, v in node.items()}
    return [eighth(value) for value in node] if isinstance(node, (list, tuple)) else node


def smaller(size: Any) -> Any:
    return type(size)(map(smaller, size)) if isinstance(size, (list, tuple)) else size // 8


def on_shapes(cfg: Config, scenes: Path) -> None:
    """Let the config's own pipeline read scenes of shapes, two at a time."""
    kind = 'instance' if cfg.default_scope == 'mmdet' else 'semantic'
    own = cfg.train_dataloader.dataset.pipeline
    loader = Config.fromfile(SMALL / '_base_' / f'shapes_{kind}.py').train_dataloader
    loader.dataset.update(data_root=str(scenes), pipeline=eighth(own))
    if kind == 'semantic':
        loader.dataset.reduce_zero_label = True
    loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_dataloader = loader


def two_iterations(cfg: Config) -> None:
    """Stop after two steps of the config's schedule, the first of which is all its warm-up."""
    if cfg.default_scope == 'mmseg':
        cfg.train_cfg.max_iters = 2
    else:
        cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler[0].end = 2  # float32 does not see steps of long ones
    cfg.default_hooks.logger.interval = 1
    for task in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{task}_{part}'] = None
