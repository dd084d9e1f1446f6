"""Draw every schedule of a config: learning rate and decay of each group, and the model's own."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import MMLogger

from ..analysis.session import add_out_option
from ..apis import load_config
from ..core.errors import at_least
from ..planning.schedule_figures import draw_panels
from ..planning.schedules import schedules
from ..reports.figure_page import CaptionedFigure, write_figures
from .options import OptionAction


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --per-epoch below 1."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument('config', help='config file')
    add_out_option(made)
    made.add_argument('--per-epoch', type=int, default=20, help='iterations of an epoch')
    made.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value')
    args = made.parse_args(argv)
    at_least('--per-epoch', args.per_epoch)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the schedules of a config, and write a PNG and a page."""
    args = parse(argv)
    cfg = load_config(args.config, args.cfg_options)
    MMLogger.get_current_instance().setLevel(logging.ERROR)  # groups are listed at every build
    found = schedules(cfg, args.per_epoch)
    caption = (
        f'{cfg.train_cfg.max_epochs} epochs of {args.per_epoch} iterations. The learning rate is '
        'the one written in the config, before any scaling with the batch.'
    )
    figure = CaptionedFigure('schedules', draw_panels(found, args.per_epoch), caption)
    write_figures(args.out, 'schedules', 'Schedules', Path(args.config).name, [figure])
