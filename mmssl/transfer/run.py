"""Train and test a config of mmdet or mmseg, from the command lines of our tools."""

import argparse
import json
from pathlib import Path

from mmengine.config import Config

from ..apis import cli
from ..core import UserError, dist
from ..core.launch import init_distributed
from ..engine import files
from .data import check_data
from .pretrain import PretrainHook, start_from
from .runner import Runner
from .settings import fit, library_of, read


def prepare(args: argparse.Namespace, unused: tuple[str, ...]) -> Config:
    """Return the config, fit for this machine; ``unused`` are its parts for another task."""
    cfg = read(args.config, args.cfg_options)
    cli.apply_run_options(cfg, args)
    for key in unused:
        cfg[key] = None
    fit(cfg)
    check_data(cfg)
    if args.launcher != 'none':
        init_distributed(args.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))
    return cfg


def train(args: argparse.Namespace) -> None:
    """Train through the library's own loops, losses and metrics."""
    parts = ('val_cfg', 'val_dataloader', 'val_evaluator') if args.no_validate else ()
    tests = ('test_cfg', 'test_dataloader', 'test_evaluator')
    cfg = prepare(args, (*parts, *tests))
    cli.apply_train_options(cfg, args)
    files.check_work_dir(cfg.work_dir, bool(cfg.get('resume')), cfg.overwrite)
    if args.amp:
        cli.need_gpu()
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise UserError('--auto-scale-lr needs auto_scale_lr.base_batch_size in the config')
        cfg.auto_scale_lr.enable = True
    start = start_from(cfg, str(library_of(args.config)))
    runner = Runner.from_cfg(cfg)
    if start is not None:
        runner.register_hook(PretrainHook(start))
    runner.train()


def test(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate a checkpoint of a whole model and return the metrics."""
    if args.out and args.out_item != 'metrics':
        raise UserError('--out writes the metrics of a transfer config: add --out-item metrics')
    trains = ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler')
    cfg = prepare(args, (*trains, 'val_cfg', 'val_dataloader', 'val_evaluator'))
    cfg.model.backbone.init_cfg = None
    if 'pretrained' in cfg.model:
        cfg.model.pretrained = None
    cfg.load_from = None if args.checkpoint == 'random' else args.checkpoint
    if args.tta:
        several_views(cfg)
    if args.show_dir:
        show(cfg, Path(args.show_dir).resolve())
    metrics = Runner.from_cfg(cfg).test()
    if args.out and dist.rank() == 0:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(metrics, indent=2, default=float) + '\n')
    return metrics


def several_views(cfg: Config) -> None:
    """Test on the views of ``tta_pipeline``, whose predictions ``tta_model`` joins."""
    if not (cfg.get('tta_model') and cfg.get('tta_pipeline')):
        raise UserError(f'{cfg.filename}: has no tta_model and tta_pipeline for --tta')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = dict(cfg.tta_model, module=cfg.model)


def show(cfg: Config, folder: Path) -> None:
    """Let the library draw truth and predictions side by side into a folder."""
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise UserError(f'{cfg.filename}: has no default_hooks.visualization to draw with')
    hook.update(draw=True, interval=1)
    if hook['type'].endswith('DetVisualizationHook'):
        hook['test_out_dir'] = str(folder)
    else:
        cfg.visualizer.save_dir = str(folder)
