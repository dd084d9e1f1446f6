"""Evaluate a checkpoint with a config's test loop, or a pretraining config's kNN monitor."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmssl import transfer
from mmssl.apis import cli, encoder, load_config, results
from mmssl.core import UserError, dist
from mmssl.engine import Runner
from mmssl.evaluation import predictions


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="file, address or model name; 'random' is the untrained network. Configs of kNN take "
        'it by --cfg-options pretrain= as well',
    )
    parser.add_argument('--out', help='write results to this .json file')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], help='what --out receives (default: pred)'
    )
    parser.add_argument('--show-dir', help='folder for pictures with predictions')
    parser.add_argument(
        '--tta', action='store_true', help='several sizes, flipped: what tta_pipeline says (mmseg)'
    )
    cli.add_run_options(parser)
    args = parser.parse_args(argv)
    if args.out_item and not args.out:
        raise UserError('--out-item says what --out receives: add --out FILE')
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Evaluate and return the metrics."""
    args = parse(argv)
    if transfer.library_of(args.config):
        return transfer.test(args)
    if args.tta:
        raise UserError('--tta is for configs of mmseg and mmdet that have a tta_pipeline')
    cfg = load_config(args.config, args.cfg_options)
    start(cfg, args.checkpoint)
    cli.apply_run_options(cfg, args)
    encoder.require(cfg)
    if cfg.get('test_cfg') is None:
        if cfg.get('val_cfg') is None:
            raise UserError(f'{args.config}: has neither test_cfg nor val_cfg to evaluate with')
        cfg.test_cfg = dict(cfg.val_cfg, type=cfg.val_cfg.type.replace('KNNLoop', 'KNNTestLoop'))
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    for key in ('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'val_cfg'):
        cfg[key] = None
    cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cli.need_gpu()
        cfg.test_cfg.fp16 = True
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='PredictionHook')]
    runner = Runner.from_cfg(cfg)
    results.record(runner)
    metrics = runner.test()
    report(args, metrics, predictions.collect(runner.predictions), runner.test_dataloader.dataset)
    return metrics


def start(cfg: Config, checkpoint: str | None) -> None:
    """Write into the config what is measured: an encoder, or a model with all it was trained."""
    if encoder.alone(cfg) or checkpoint == encoder.RANDOM:
        encoder.give(cfg, checkpoint)
    elif checkpoint is None:
        raise UserError(f'{cfg.filename}: give the file to test after the config')
    else:
        cfg.load_from, cfg.load_part = checkpoint, 'all'


def report(
    args: argparse.Namespace, metrics: dict[str, float], found: list[dict], dataset: Any
) -> None:
    """Write and draw what was asked for, on the first process."""
    if dist.rank():
        return
    if args.out:
        predictions.write(Path(args.out), metrics if args.out_item == 'metrics' else found)
    if args.show_dir:
        predictions.draw(Path(args.show_dir), found, dataset)


if __name__ == '__main__':
    cli.run(main)
