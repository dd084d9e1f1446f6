"""Draw the matched regions of two images, or measure the matches over a folder.

With one image the second view is a random crop of it; with --measure, on a folder, it is the
mirrored, recoloured image, and the share of right matches is printed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..analysis import correspondence as matching
from ..analysis.correspondence_figures import best_pairs, draw_pairs, summary_region
from ..analysis.session import AnalysisSession, analysis_parser
from ..apis.images import batches, to_list
from ..core import UserError
from ..core.errors import at_least
from ..datasets import ImageDataset
from ..models.backbones import Features
from ..reports.figure_page import CaptionedFigure, write_figures

MARKS = ('D', '*')  # nearest to the pooled feature of its own, of the other image


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises UserError for too many images and for numbers below 1.
    """
    made = analysis_parser(__doc__)
    made.add_argument('images', nargs='+', help='an image, two images, or a folder')
    made.add_argument('--measure', action='store_true', help='measure over all images of a folder')
    made.add_argument('--most', type=int, default=5000, help='images to measure at most')
    made.add_argument('--pairs', type=int, default=matching.COUNT, help='surest pairs to look at')
    made.add_argument('--seed', type=int, default=0, help='of the second views')
    args = made.parse_args(argv)
    if len(args.images) > 2 or (args.measure and len(args.images) > 1):
        raise UserError(
            f'images: {len(args.images)} are given; give one, two to compare, or a folder '
            '(--measure takes a folder)',
            key='images',
            value=args.images,
        )
    at_least('--pairs', args.pairs)
    at_least('--most', args.most)
    return args


def measure(session: AnalysisSession, args: argparse.Namespace) -> None:
    """Print the means over a folder, and write them as JSON."""
    folder = ImageDataset(args.images[0], with_label=False)
    files = [folder.name(i) for i in range(len(folder))][: args.most]
    scores: list[matching.Score] = []
    for part in batches(files, 16):
        views = [session.view(file) for file in part]
        seeds = range(args.seed + len(scores), args.seed + len(scores) + len(views))
        others = [matching.mirrored(v, s) for v, s in zip(views, seeds, strict=True)]
        one, two = (session.model.encode(session.batch(v)) for v in (views, others))
        cell = (views[0].shape[2] / one.grid[1], views[0].shape[1] / one.grid[0])
        scores += [
            matching.mirror_score(a, b, one.grid, cell, args.pairs)
            for a, b in zip(one.tokens, two.tokens, strict=True)
        ]
    found = matching.mean_score(scores)
    args.out.mkdir(parents=True, exist_ok=True)
    record = dict(
        model=args.model, weights=args.weights, data=args.images[0], images=len(scores),
        grid=one.grid, pairs=args.pairs, seed=args.seed, **found._asdict(),
    )  # fmt: skip
    path = args.out / 'correspondence.json'
    path.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
    print(
        f'{len(scores)} images: {100 * found.accuracy:.1f} % of the {args.pairs} surest matches '
        f'right, {found.distance:.1f} px off on average, next similarity {found.similarity:.3f}: '
        f'{path}'
    )


def pair_figure(
    session: AnalysisSession, images: Sequence[object], args: argparse.Namespace
) -> CaptionedFigure:
    """Return the figure of matched regions of two images, or of two views of one."""
    first = session.view(images[0])
    truth = None
    if len(images) == 2:
        second = session.view(images[1])
    else:
        second, params = matching.other_view(first, args.seed)
        side = first.shape[-1]
        truth = (tuple(v / side for v in params.box), params.flip)
    encoded = [session.model.encode(session.batch([view])) for view in (first, second)]
    found = best_pairs(
        encoded[0].tokens[0], encoded[1].tokens[0], encoded[0].grid, truth, args.pairs
    )
    marks = [
        (i, region(encoded[i], encoded[j]), MARKS[int(i != j)]) for i in range(2) for j in range(2)
    ]
    names = ' and '.join(Path(str(image)).name for image in images)
    count = len(encoded[0].tokens[0])
    caption = (
        f'{names}: the {len(found.right)} surest of {count} regions of the left image, '
        'joined to the region most like each. '
    )
    if truth is not None:
        right, known = found.right.count(True), len(found.right) - found.right.count(None)
        caption += (
            f'Green: at most one cell from the truth ({right} of {known}); red: further off; '
            'white: not in the right view. '
        )
    caption += (
        'Diamond: the region most like the feature of its whole image; star: most like that of '
        'the other.'
    )
    stem = '_'.join(Path(str(image)).stem for image in images)
    return CaptionedFigure(
        f'correspondence_{stem}', draw_pairs((first, second), found, marks), caption
    )


def region(here: Features, whole: Features) -> Tensor:
    """Return the centre (x, y) of the region of ``here`` most like the pooled feature of ``whole``.

    Features are of one image each; the centre (2,) is in shares of the sides.
    """
    return summary_region(whole.pooled[0], here.tokens[0], here.grid)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Draw the pairs of images as PNGs and a page, or measure a folder."""
    args = parse(argv)
    session = AnalysisSession(args)
    if args.measure:
        measure(session, args)
        return
    images = args.images if len(args.images) == 2 else to_list(args.images[0])[:16]
    sets = [images] if len(args.images) == 2 else [[image] for image in images]
    figures = [pair_figure(session, one, args) for one in sets]
    write_figures(args.out, 'correspondence', 'Correspondence of regions', session.lead, figures)
