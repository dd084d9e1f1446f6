"""Draw every schedule of a config: rate and decay of each group, and the model's curves."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmssl.analysis.album import Plate
from mmssl.analysis.plots import panels
from mmssl.analysis.schedules import schedules
from mmssl.apis import cli, load_config
from mmssl.apis.looking import add_out, publish
from mmssl.core import UserError


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument('config', help='config file')
    add_out(made)
    made.add_argument('--per-epoch', type=int, default=20, help='iterations of an epoch')
    made.add_argument(
        '--cfg-options', nargs='+', action=cli.OptionAction, default={}, help='key=value'
    )
    args = made.parse_args(argv)
    if args.per_epoch < 1:
        raise UserError(f'--per-epoch {args.per_epoch}: at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and write."""
    args = parse(argv)
    cfg = load_config(args.config, args.cfg_options)
    found = schedules(cfg, args.per_epoch)
    caption = (
        f'{cfg.train_cfg.max_epochs} epochs of {args.per_epoch} iterations. The learning rate is '
        'the one written in the config, before any scaling with the batch.'
    )
    plate = Plate('schedules', panels(found, args.per_epoch), caption)
    publish(args.out, 'schedules', 'Schedules', Path(args.config).name, [plate])


if __name__ == '__main__':
    cli.run(main)
