"""Colour the patches of images by the principal components of all their features."""

import argparse
from collections.abc import Sequence

import torch

from ..analysis.patches import patch_colors
from ..analysis.session import AnalysisSession, analysis_parser
from ..analysis.sheets import patch_sheet
from ..apis.images import batches, to_list
from ..evaluation.sanity_checks import refuse_non_finite
from ..reports.figure_page import CaptionedFigure, write_figures
from ..reports.html_page import png_bytes

MAX_IMAGES = 32  # on the sheet


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = analysis_parser(__doc__)
    made.add_argument('images', help='an image, or a folder of images')
    return made.parse_args(argv)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Colour the patches of images, and write a PNG and a page.

    Raises UserError for features that are not finite.
    """
    args = parse(argv)
    session = AnalysisSession(args)
    views = [session.view(image) for image in to_list(args.images)[:MAX_IMAGES]]
    parts = []
    for part in batches(views, 8):
        encoded = session.model.encode(session.batch(part))
        parts.append(encoded.tokens.float().cpu())  # (b, N, C)
    tokens = torch.cat(parts)
    refuse_non_finite(tokens, 'patch features of images')
    h, w = encoded.grid
    colors = patch_colors(tokens, (h, w))  # (B, h, w, 3)
    side = 360 if len(views) == 1 else 168 if len(views) <= 4 else 112
    caption = (
        f'{len(views)} images and their {h} × {w} patches, coloured by the first three principal '
        'components of the features of all: similar colours are similar features. The mean of '
        'each image is subtracted first.'
    )
    figure = CaptionedFigure('patch_pca', png_bytes(patch_sheet(views, colors, side)), caption)
    write_figures(args.out, 'patch_pca', 'Patch features as colours', session.lead, [figure])
