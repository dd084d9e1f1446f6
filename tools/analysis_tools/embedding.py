"""Draw the images of a folder on a map where near means alike: PCA, t-SNE or UMAP."""

import argparse
import random
from collections.abc import Sequence

from torch.utils.data import DataLoader, Subset

from mmssl.analysis.album import Plate
from mmssl.analysis.embedding import METHODS, apart, plane
from mmssl.analysis.page import png_bytes
from mmssl.analysis.patches import picture
from mmssl.analysis.plots import scatter, thumbnails
from mmssl.apis import cli
from mmssl.apis.looking import Looker, parser, publish
from mmssl.core import UserError
from mmssl.evaluation.features import extract

CELLS = 18  # pictures a side of the sheet
NAMES = dict(pca='PCA', tsne='t-SNE', umap='UMAP')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument('folder', help='folder of images; class folders give the colours')
    made.add_argument('--method', default='tsne', help=f'one of {", ".join(METHODS)}')
    made.add_argument('--most', type=int, default=2000, help='images; more are drawn from')
    made.add_argument('--seed', type=int, default=0, help='of the method and of the choice')
    args = made.parse_args(argv)
    if args.method not in METHODS:
        raise UserError(f"--method '{args.method}' is unknown; use one of {', '.join(METHODS)}")
    if args.most < 1:
        raise UserError(f'--most {args.most}: at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Extract, place, draw and write."""
    args = parse(argv)
    looker = Looker(args)
    folder = looker.folder(args.folder)
    count = min(args.most, len(folder))
    chosen = sorted(random.Random(args.seed).sample(range(len(folder)), count))
    bank = extract(looker.model, DataLoader(Subset(folder, chosen), 32), f'of {args.folder}')
    points = plane(bank.features, args.method, args.seed)
    indices = bank.indices.tolist()
    labels = [folder.labels[i] for i in indices] if folder.labels else []
    name = NAMES[args.method]
    cells = max(4, min(CELLS, round(2 * count**0.5)))
    images = {at: picture(folder[indices[i]]['inputs']) for at, i in apart(points, cells).items()}
    plates = [
        Plate(
            f'{args.method}_points',
            scatter(points, labels, folder.classes),
            f'{count} images of {args.folder} by {name} of their pooled features'
            + (', coloured by class; the network saw no class.' if labels else '.'),
        ),
        Plate(
            f'{args.method}_pictures',
            png_bytes(thumbnails(images, cells)),
            'The same map with pictures: in each cell the image nearest to its middle.',
        ),
    ]
    publish(args.out, f'embedding_{args.method}', 'How it orders them', looker.lead, plates)


if __name__ == '__main__':
    cli.run(main)
