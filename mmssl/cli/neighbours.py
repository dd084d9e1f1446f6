"""Show the nearest neighbours of images in a folder, by a network's features."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ..analysis.session import AnalysisSession, analysis_parser
from ..analysis.sheets import neighbour_sheet
from ..apis.images import to_list
from ..core import UserError
from ..core.errors import at_least
from ..evaluation.feature_extraction import extract
from ..evaluation.knn import nearest
from ..evaluation.sanity_checks import refuse_non_finite
from ..reports import html_page
from ..reports.figure_page import CaptionedFigure, write_figures

MAX_QUERIES = 12


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. Raises UserError for --count below 1."""
    made = analysis_parser(__doc__)
    made.add_argument('images', help='an image, or a folder of images, to find neighbours of')
    made.add_argument('folder', help='where to look for them; class folders colour the frames')
    made.add_argument('--count', type=int, default=8, help='neighbours of each')
    args = made.parse_args(argv)
    at_least('--count', args.count)
    return args


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Find the neighbours of images, and write a PNG and a page.

    Raises UserError where the folder holds only the query itself, and for features that are not
    finite.
    """
    args = parse(argv)
    session = AnalysisSession(args)
    queries = [Path(str(image)) for image in to_list(args.images)[:MAX_QUERIES]]
    views = [session.view(image) for image in queries]
    folder = session.folder(args.folder)
    bank = extract(session.model, DataLoader(folder, 32), f'of {args.folder}')
    features = session.model.encode(session.batch(views)).pooled.float()  # (Q, C)
    refuse_non_finite(features, 'features of queries')
    paths = [Path(folder.name(i)).resolve() for i in bank.indices.tolist()]
    rows = []
    same_class = []
    table = []
    for query, view, feature in zip(queries, views, features, strict=True):
        others = [i for i, path in enumerate(paths) if path != query.resolve()]
        if not others:
            raise UserError(
                f'{args.folder}: holds no image but {query} itself',
                key='folder',
                value=args.folder,
            )
        count = min(args.count, len(others))
        cosines, found = nearest(bank.features[others], feature[None], count)
        indices = bank.indices[others][found[0]].tolist()  # in the folder
        rows.append([view, *(folder[i]['inputs'] for i in indices)])
        own = query.resolve().parent.name
        known = own in folder.classes
        same_class.append([folder.classes[folder.labels[i]] == own for i in indices if known])
        for rank, (i, cosine) in enumerate(zip(indices, cosines[0].tolist(), strict=True)):
            table.append([query.name if rank == 0 else '', folder.name(i), f'{cosine:.3f}'])
    caption = (
        f'Left: an image; right of it the images nearest to it among {len(paths)} of '
        f'{args.folder}, the nearest first.'
    )
    if any(same_class):
        caption += ' Green frames have the class of the left image, red ones another.'
    sheet = neighbour_sheet(rows, same_class, side=112)
    figure = CaptionedFigure('neighbours', html_page.png_bytes(sheet), caption)
    rows_html = html_page.table(['image', 'neighbour', 'cosine'], table)
    title = 'Nearest neighbours'
    write_figures(args.out, 'neighbours', title, session.lead, [figure], rows_html)
