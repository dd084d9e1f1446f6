"""Train and test a config of mmdet or mmseg, from the command lines of our tools."""

import argparse
import json
from pathlib import Path

from mmengine.config import Config

from ..core import UserError, dist
from ..core.io import atomic_write, unwrap_model
from ..core.launch import init_distributed
from ..engine.state import work_dir_files
from ..transfer.checked_loading import scan_labels
from ..transfer.class_checks import check_data_classes, check_heads
from ..transfer.data_checks import check_data
from ..transfer.pretrained import PretrainHook, start_from
from ..transfer.runner import Runner
from ..transfer.settings import (
    drop_amp_without_gpu,
    library_of,
    read_transfer_config,
    revert_mmcv_sync_bn,
)
from .options import apply_run_options, apply_train_options, require_gpu_for_amp


def prepare_config(args: argparse.Namespace, unused: tuple[str, ...]) -> Config:
    """Read a config, apply the options and check its data; ``unused`` keys become None.

    Raises UserError for data that are not there, and for --dtype and --record.
    """
    for option in ('dtype', 'record'):
        if getattr(args, option, None):
            raise UserError(
                f'--{option} is not for detectors and segmentors, which other libraries train; '
                'leave it out',
                key=f'--{option}',
                value=getattr(args, option),
            )
    cfg = read_transfer_config(args.config, args.cfg_options)
    apply_run_options(cfg, args)
    for key in unused:
        cfg[key] = None
    drop_amp_without_gpu(cfg)
    check_data(cfg)
    if args.launcher != 'none':
        init_distributed(args.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    revert_mmcv_sync_bn(cfg)
    return cfg


def build_runner(cfg: Config, library: str) -> Runner:
    """Compare the classes of data and heads, and build what trains and tests.

    Raises UserError when they differ, and with ``scan_labels`` for a bad label map.
    """
    classes = check_data_classes(cfg, library)
    if cfg._cfg_dict.pop('scan_labels', False):
        scan_labels(cfg, library)
    runner = Runner.from_cfg(cfg)
    if classes and not cfg.model.get('language_model'):  # whose words are counted there
        check_heads(unwrap_model(runner.model), classes, library)
    found: Runner = runner
    return found


def train(args: argparse.Namespace) -> None:
    """Train through the library's own loops, losses and metrics.

    Raises UserError for --auto-scale-lr where the config states no batch.
    """
    parts = ('val_cfg', 'val_dataloader', 'val_evaluator') if args.no_validate else ()
    tests = ('test_cfg', 'test_dataloader', 'test_evaluator')
    cfg = prepare_config(args, (*parts, *tests))
    apply_train_options(cfg, args)
    work_dir_files.check_work_dir(cfg.work_dir, bool(cfg.get('resume')), cfg.overwrite)
    if args.amp:
        require_gpu_for_amp()
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
        if not base:
            raise UserError(
                '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config',
                key='auto_scale_lr.base_batch_size',
                value=base,
            )
        cfg.auto_scale_lr.enable = True
    library = str(library_of(args.config))
    start = start_from(cfg, library)
    runner = build_runner(cfg, library)
    if start is not None:
        runner.register_hook(PretrainHook(start))
    runner.train()


def test(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate a checkpoint of a whole model and return the metrics.

    Raises UserError for --out without --out-item metrics.
    """
    if args.out and args.out_item != 'metrics':
        raise UserError(
            '--out writes the metrics of a transfer config: add --out-item metrics',
            key='--out-item',
            value=args.out_item,
        )
    trains = ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler')
    cfg = prepare_config(args, (*trains, 'val_cfg', 'val_dataloader', 'val_evaluator'))
    cfg.model.backbone.init_cfg = None
    if 'pretrained' in cfg.model:
        cfg.model.pretrained = None
    cfg.load_from = None if args.checkpoint == 'random' else args.checkpoint
    if args.tta:
        enable_tta(cfg)
    if args.show_dir:
        set_show_dir(cfg, Path(args.show_dir).resolve())
    metrics = build_runner(cfg, str(library_of(args.config))).test()
    if args.out and dist.rank() == 0:
        atomic_write(Path(args.out), json.dumps(metrics, indent=2, default=float) + '\n')
    found: dict[str, float] = metrics
    return found


def enable_tta(cfg: Config) -> None:
    """Test on the views of ``tta_pipeline``, whose predictions ``tta_model`` joins.

    Raises UserError for a config without one of the two.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise UserError(
            f'{cfg.filename}: has no tta_model and tta_pipeline for --tta',
            key=missing[0],
            value=cfg.get(missing[0]),
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def set_show_dir(cfg: Config, folder: Path) -> None:
    """Make the library draw truth and predictions side by side into a folder.

    Raises UserError for a config without the hook that draws.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise UserError(
            f'{cfg.filename}: has no default_hooks.visualization to draw with',
            key='default_hooks.visualization',
            value=None,
        )
    hook.update(draw=True, interval=1)
    if hook['type'].endswith('DetVisualizationHook'):
        hook['test_out_dir'] = str(folder)
    else:
        cfg.visualizer.save_dir = str(folder)
