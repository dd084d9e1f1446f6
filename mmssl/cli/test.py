"""Evaluate a checkpoint with a config's test loop, or a pretraining config's kNN monitor."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..apis import load_config
from ..config import pretrained
from ..core import UserError, dist
from ..engine import Runner
from ..evaluation import predictions
from ..results.hook import register_result_hook
from ..transfer import library_of
from . import transfer
from .options import add_run_options, apply_run_options, require_gpu_for_amp


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises UserError for --out-item without --out, and for --out of another kind than .json.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="file, address or model name; 'random' is the untrained network. Configs of kNN take "
        'it by --cfg-options pretrained= as well',
    )
    parser.add_argument('--out', help='write results to this .json file')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], help='what --out receives (default: pred)'
    )
    parser.add_argument('--show-dir', help='folder for images with predictions')
    parser.add_argument(
        '--tta', action='store_true', help='several sizes, flipped: what tta_pipeline says (mmseg)'
    )
    add_run_options(parser)
    args = parser.parse_args(argv)
    if args.out_item and not args.out:
        raise UserError(
            '--out-item says what --out receives: add --out FILE', key='--out', value=None
        )
    if args.out and Path(args.out).suffix != '.json':
        raise UserError(
            f'--out {args.out}: results are JSON; name it {Path(args.out).with_suffix(".json")}',
            key='--out',
            value=args.out,
        )
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Evaluate and return the metrics.

    Raises UserError for a config without an evaluation and for options that do not fit it.
    """
    args = parse(argv)
    if library_of(args.config):
        return transfer.test(args)
    if args.tta:
        raise UserError(
            '--tta is for configs of mmseg and mmdet that have a tta_pipeline; leave it out',
            key='--tta',
            value=True,
        )
    cfg = load_config(args.config, args.cfg_options)
    set_checkpoint(cfg, args.checkpoint)
    apply_run_options(cfg, args)
    pretrained.require_pretrained(cfg)
    if cfg.get('test_cfg') is None:
        if cfg.get('val_cfg') is None:
            raise UserError(
                f'{args.config}: has neither test_cfg nor val_cfg to evaluate with',
                key='test_cfg',
                value=None,
            )
        cfg.test_cfg = dict(cfg.val_cfg)
        if cfg.test_cfg.type == 'KNNLoop':
            cfg.test_cfg.mode = 'test'
        cfg.test_dataloader = cfg.val_dataloader
        cfg.test_evaluator = cfg.val_evaluator
    for key in ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'val_cfg'):
        cfg[key] = None
    cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        require_gpu_for_amp()
        cfg.test_cfg.fp16 = True
    hook = dict(type='PredictionHook', mask_folder=args.show_dir)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    runner = Runner.from_cfg(cfg)
    register_result_hook(runner)
    metrics = runner.test()
    found = predictions.collect(runner.step_status.predictions)
    write_outputs(args, metrics, found, runner.test_dataloader.dataset)
    result: dict[str, float] = metrics
    return result


def set_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    """Write into the config what is measured: an encoder, or a whole trained model.

    Raises UserError for a config of a whole model without a checkpoint.
    """
    if pretrained.measures_encoder_alone(cfg) or checkpoint == pretrained.RANDOM:
        pretrained.set_pretrained(cfg, checkpoint)
        if checkpoint == pretrained.RANDOM and cfg.model.get('backbone'):
            cfg.model.backbone.init_cfg = None  # of a method that goes on from an encoder
    elif checkpoint is None:
        raise UserError(
            f'{cfg.filename}: give the file to test after the config', key='file', value=None
        )
    else:
        cfg.load_from = checkpoint
        cfg.load_part = 'all'


def write_outputs(
    args: argparse.Namespace, metrics: dict[str, float], found: list[dict[str, Any]], dataset: Any
) -> None:
    """Write the --out file and the images of --show-dir, on the first process."""
    if dist.rank():
        return
    if args.out:
        predictions.write(Path(args.out), metrics if args.out_item == 'metrics' else found)
    if args.show_dir and found:  # masks are drawn as they come
        predictions.draw(Path(args.show_dir), found, dataset)
