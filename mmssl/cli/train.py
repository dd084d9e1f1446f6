"""Train a config: pretraining, linear probing, fine-tuning, or transfer to mmdet or mmseg."""

import argparse
from collections.abc import Sequence

from ..analysis.pictures_hook import register_pictures
from ..apis import load_config
from ..config import pretrained
from ..core import UserError
from ..engine import Runner
from ..replay import StepRecorder
from ..replay.recorder import STEPS
from ..results.hook import register_result_hook
from ..transfer import library_of
from . import transfer
from .options import add_run_options, apply_run_options, apply_train_options
from .preflight import check_on_data


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue: the newest checkpoint of the work dir, or the given one',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace an earlier run in the work dir'
    )
    parser.add_argument('--no-validate', action='store_true', help='no monitor while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch'
    )
    parser.add_argument('--no-persistent-workers', action='store_true')
    parser.add_argument('--record', metavar='FILE', help='record the first steps for replay.py')
    parser.add_argument(
        '--record-steps', type=int, default=STEPS, help=f'how many (default: {STEPS})'
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train a config. Raises UserError for one without training."""
    args = parse(argv)
    if library_of(args.config):
        return transfer.train(args)
    cfg = load_config(
        args.config,
        args.cfg_options,
        further=lambda read: check_on_data(
            read, args.launcher, bool(args.resume or read.get('resume'))
        ),
    )
    apply_run_options(cfg, args)
    apply_train_options(cfg, args)
    pretrained.require_pretrained(cfg)
    if cfg.get('train_cfg') is None:
        raise UserError(
            f'{args.config}: has no train_cfg, so nothing to train; tools/test.py evaluates it',
            key='train_cfg',
            value=None,
        )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.amp = cfg.optim_wrapper.get('amp') or 'float16'
        cfg.optim_wrapper.amp_required = True
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    recorder = StepRecorder(args.record, args.record_steps) if args.record else None
    runner = Runner.from_cfg(cfg)
    register_result_hook(runner)
    register_pictures(runner)
    if recorder is not None:
        runner.register_hook(recorder)
    runner.train()
