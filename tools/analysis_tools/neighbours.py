"""Show which images of a folder a network finds nearest to a picture."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mmssl.analysis import page
from mmssl.analysis.album import Plate
from mmssl.analysis.embedding import finite
from mmssl.analysis.patches import PLAIN, RIGHT, WRONG, mosaic, nearest, picture
from mmssl.apis import cli
from mmssl.apis.images import to_list
from mmssl.apis.looking import Looker, parser, publish
from mmssl.core import UserError
from mmssl.evaluation.features import extract

MOST = 12  # queries


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument('images', help='a picture, or a folder of pictures, to find neighbours of')
    made.add_argument('folder', help='where to look for them; class folders colour the frames')
    made.add_argument('--count', type=int, default=8, help='neighbours of each')
    args = made.parse_args(argv)
    if args.count < 1:
        raise UserError(f'--count {args.count}: at least 1')
    return args


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Find, draw and write."""
    args = parse(argv)
    looker = Looker(args)
    queries = [Path(str(image)) for image in to_list(args.images)[:MOST]]
    views = [looker.view(image) for image in queries]
    bank = looker.folder(args.folder)
    stored = extract(looker.model, DataLoader(bank, 32), f'of {args.folder}')
    known = F.normalize(finite(stored.features), dim=1)
    asked = finite(looker.model.encode(looker.batch(views)).pooled.float())
    places = [Path(bank.name(i)).resolve() for i in stored.indices.tolist()]
    rows, frames, table = [], [], []
    for query, view, feature in zip(queries, views, asked, strict=True):
        kept = [i for i, place in enumerate(places) if place != query.resolve()]
        if not kept:
            raise UserError(f'{args.folder}: holds no image but {query} itself')
        found = [kept[i] for i in nearest(known[kept], feature[None], args.count)[0].tolist()]
        at = stored.indices[found].tolist()
        images = [picture(bank[i]['inputs']) for i in at]
        rows.append([picture(view), *images])
        own = query.resolve().parent.name
        hits = [bank.classes[bank.labels[i]] == own for i in at] if own in bank.classes else []
        frames.append([PLAIN, *(RIGHT if hit else WRONG for hit in hits)])
        cosines = known[found] @ F.normalize(feature, dim=0)
        table += [
            [query.name if not j else '', bank.name(i), f'{c:.3f}']
            for j, (i, c) in enumerate(zip(at, cosines.tolist(), strict=True))
        ]
    caption = (
        f'Left: a picture; right of it the images nearest to it among {len(places)} of '
        f'{args.folder}, the nearest first.'
    )
    if any(len(frame) > 1 for frame in frames):
        caption += ' Green frames have the class of the left picture, red ones another.'
    sheet = mosaic(rows, frames, gap_after=1, side=112)
    plate = Plate('neighbours', page.png_bytes(sheet), caption)
    listed = page.table(['picture', 'neighbour', 'cosine'], table)
    title = 'What looks alike to it'
    publish(args.out, 'neighbours', title, looker.lead, [plate], listed)


if __name__ == '__main__':
    cli.run(main)
