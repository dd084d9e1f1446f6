"""Train a config: pretraining, linear probing, fine-tuning, or transfer to mmdet or mmseg."""

import argparse
from collections.abc import Sequence

from mmssl import transfer
from mmssl.apis import cli, encoder, load_config, results
from mmssl.core import UserError
from mmssl.engine import Runner


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
    cli.add_run_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train."""
    args = parse(argv)
    if transfer.library_of(args.config):
        return transfer.train(args)
    cfg = load_config(args.config, args.cfg_options)
    cli.apply_run_options(cfg, args)
    cli.apply_train_options(cfg, args)
    encoder.require(cfg)
    if cfg.get('train_cfg') is None:
        raise UserError(f'{args.config}: has nothing to train; tools/test.py runs it')
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.amp = cfg.optim_wrapper.get('amp') or 'float16'
        cfg.optim_wrapper.amp_required = True
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    runner = Runner.from_cfg(cfg)
    results.record(runner)
    runner.train()


if __name__ == '__main__':
    cli.run(main)
