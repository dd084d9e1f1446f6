"""Draw the augmented views that a config makes of pictures, with the numbers of each."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmssl.analysis.album import Plate
from mmssl.analysis.plots import views_sheet
from mmssl.analysis.views import draw_views, multi_view
from mmssl.apis import cli, load_config
from mmssl.apis.images import to_list
from mmssl.apis.looking import add_out, publish
from mmssl.core import UserError
from mmssl.datasets.picture import Picture


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument('config', help='config file of a pretraining')
    made.add_argument('images', help='a picture, or a folder of pictures')
    add_out(made)
    made.add_argument('--count', type=int, default=8, help='pictures of a folder to draw')
    made.add_argument('--repeat', type=int, default=1, help='draws of each picture')
    made.add_argument('--epoch', type=int, default=0, help='some masks begin later than at 0')
    made.add_argument('--seed', type=int, default=0)
    made.add_argument(
        '--cfg-options', nargs='+', action=cli.OptionAction, default={}, help='key=value'
    )
    args = made.parse_args(argv)
    if args.count < 1 or args.repeat < 1:
        raise UserError('--count and --repeat are at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and write."""
    args = parse(argv)
    cfg = load_config(args.config, args.cfg_options)
    if cfg.get('train_dataloader') is None:
        raise UserError(f'{args.config}: has no train_dataloader, so no views')
    multi = multi_view(cfg.train_dataloader.dataset.get('pipeline', []))
    plates = []
    for i, image in enumerate(to_list(args.images)[: args.count]):
        path = Path(str(image))
        if not path.is_file():
            raise UserError(f'{path}: no such file')
        picture = Picture(path.read_bytes(), str(path))
        for j in range(args.repeat):
            views = draw_views(multi, picture, f'{args.seed}-{args.epoch + j}-{i}', args.epoch)
            name = f'views_{path.stem}' + (f'_{j}' if args.repeat > 1 else '')
            caption = (
                f'{path.name}, {picture.width} × {picture.height} px, and its {len(views)} views.'
            )
            plates.append(Plate(name, views_sheet(picture, views), caption))
    lead = f'{args.config}: what the network is shown. Crops are drawn in the colour of their view.'
    publish(args.out, 'views', 'Views', lead, plates)


if __name__ == '__main__':
    cli.run(main)
