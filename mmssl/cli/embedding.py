"""Plot the images of a folder by their features in the plane: PCA, t-SNE or UMAP."""

import argparse
import random
from collections.abc import Sequence

from torch.utils.data import DataLoader, Subset

from ..analysis.embedding import METHODS, one_per_cell, project
from ..analysis.embedding_figures import scatter, thumbnails
from ..analysis.session import AnalysisSession, analysis_parser
from ..analysis.sheets import to_image
from ..core import UserError
from ..core.errors import at_least
from ..evaluation.feature_extraction import extract
from ..reports.figure_page import CaptionedFigure, write_figures
from ..reports.html_page import png_bytes

CELLS = 18  # images a side of the sheet
NAMES = dict(pca='PCA', tsne='t-SNE', umap='UMAP')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for an unknown --method and --most below 1."""
    made = analysis_parser(__doc__)
    made.add_argument('folder', help='folder of images; class folders give the colours')
    made.add_argument('--method', default='tsne', help=f'one of {", ".join(METHODS)}')
    made.add_argument('--most', type=int, default=2000, help='images; more are drawn from')
    made.add_argument('--seed', type=int, default=0, help='of the method and of the choice')
    args = made.parse_args(argv)
    if args.method not in METHODS:
        raise UserError(
            f"--method '{args.method}' is unknown; use one of {', '.join(METHODS)}",
            key='--method',
            value=args.method,
        )
    at_least('--most', args.most)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Extract features, project them to the plane, and write PNGs and a page."""
    args = parse(argv)
    session = AnalysisSession(args)
    folder = session.folder(args.folder)
    count = min(args.most, len(folder))
    chosen = sorted(random.Random(args.seed).sample(range(len(folder)), count))
    bank = extract(session.model, DataLoader(Subset(folder, chosen), 32), f'of {args.folder}')
    points = project(bank.features, args.method, args.seed)
    indices = bank.indices.tolist()
    labels = [folder.labels[i] for i in indices] if folder.labels else []
    name = NAMES[args.method]
    cells = max(4, min(CELLS, round(2 * count**0.5)))
    images = {
        cell: to_image(folder[indices[i]]['inputs'])
        for cell, i in one_per_cell(points, cells).items()
    }
    figures = [
        CaptionedFigure(
            f'{args.method}_points',
            scatter(points, labels, folder.classes),
            f'{count} images of {args.folder} by {name} of their pooled features'
            + (', coloured by class; the network saw no class.' if labels else '.'),
        ),
        CaptionedFigure(
            f'{args.method}_pictures',
            png_bytes(thumbnails(images, cells)),
            'The same map with images: in each cell the image nearest to its middle.',
        ),
    ]
    write_figures(args.out, f'embedding_{args.method}', 'Embedding', session.lead, figures)
