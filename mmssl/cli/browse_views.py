"""Draw the augmented views that a config makes of images, with the parameters of each."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..analysis.session import add_out_option
from ..analysis.view_figures import views_sheet
from ..analysis.views import training_views
from ..apis import load_config
from ..apis.images import to_list
from ..core import UserError
from ..core.errors import at_least
from ..datasets.transforms.load_image import reader
from ..datasets.transforms.multi_view import build_multi_view
from ..registry import TRANSFORMS
from ..reports.figure_page import CaptionedFigure, write_figures
from .options import OptionAction


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for numbers below 1."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument('config', help='config file of a pretraining')
    made.add_argument('images', help='an image, or a folder of images')
    add_out_option(made)
    made.add_argument('--count', type=int, default=8, help='images of a folder to draw')
    made.add_argument('--repeat', type=int, default=1, help='draws of each image')
    made.add_argument('--epoch', type=int, default=0, help='some masks begin later than at 0')
    made.add_argument('--seed', type=int, default=0)
    made.add_argument('--cfg-options', nargs='+', action=OptionAction, default={}, help='key=value')
    args = made.parse_args(argv)
    at_least('--count', args.count)
    at_least('--repeat', args.repeat)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the views of images and write PNGs and a page.

    Raises UserError for a config without views and for a missing image.
    """
    args = parse(argv)
    cfg = load_config(args.config, args.cfg_options)
    if cfg.get('train_dataloader') is None:
        raise UserError(
            f'{args.config}: has no train_dataloader, so no views; give a pretraining config',
            key='train_dataloader',
            value=None,
        )
    pipeline = cfg.train_dataloader.dataset.get('pipeline', [])
    multi = build_multi_view(pipeline)
    load = reader(TRANSFORMS.build(step) for step in pipeline if step['type'] == 'LoadImage')
    figures = []
    for i, image in enumerate(to_list(args.images)[: args.count]):
        path = Path(str(image))
        if not path.is_file():
            raise UserError(f'{path}: no such file', key='file', value=str(path))
        encoded = load(dict(path=str(path)))['image']
        for j in range(args.repeat):
            views = training_views(multi, encoded, f'{args.seed}-{args.epoch + j}-{i}', args.epoch)
            name = f'views_{path.stem}' + (f'_{j}' if args.repeat > 1 else '')
            caption = (
                f'{path.name}, {encoded.width} × {encoded.height} px, and its {len(views)} views.'
            )
            figures.append(CaptionedFigure(name, views_sheet(encoded, views), caption))
    lead = f'{args.config}: the views of training. Crops are drawn in the colour of their view.'
    write_figures(args.out, 'views', 'Views', lead, figures)
