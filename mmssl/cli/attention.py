"""Draw the attention maps of each head and their entropy: of any transformer, timm's too."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..analysis.attention import (
    Attention,
    Query,
    attention_maps,
    block_attention,
    entropy,
    mass_mask,
)
from ..analysis.attention_figures import draw_entropies, draw_heads, query_name
from ..analysis.session import AnalysisSession, analysis_parser
from ..apis.images import to_list
from ..evaluation.sanity_checks import refuse_non_finite
from ..reports.figure_page import CaptionedFigure, write_figures
from .options import errors_of_options


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = analysis_parser(__doc__)
    made.add_argument('images', help='an image, or a folder of images')
    made.add_argument(
        '--block', type=int, default=-1, help='from 0, over all stages; default: last'
    )
    made.add_argument(
        '--query', help='cls, mean or ROW,COLUMN of a patch; default: cls where there is one'
    )
    made.add_argument('--mass', type=float, default=0.6, help='share of the weight that is kept')
    return made.parse_args(argv)


def query_of(text: str | None, found: Attention) -> Query:
    """Return the query that a text names; without one 'cls' where the block has it, else 'mean'."""
    if text is None:
        return 'cls' if found.cls else 'mean'
    parts = text.split(',')
    if len(parts) == 2 and all(part.strip().isdigit() for part in parts):
        return int(parts[0]), int(parts[1])
    return text


def head_figure(
    session: AnalysisSession, image: object, args: argparse.Namespace
) -> CaptionedFigure:
    """Return the figure of one image: an attention map for each head.

    Raises UserError for attention that is not finite, and for a query or mass that does not fit.
    """
    view = session.view(image)
    found = block_attention(session.backbone, session.batch([view]), args.block)
    query = query_of(args.query, found)
    refuse_non_finite(found.weights, f'attention of {image}')
    shown = attention_maps(found, query)[0]  # (M, h, w)
    kept = mass_mask(shown.flatten(1), args.mass).view_as(shown)
    png = draw_heads(view, shown, kept, entropy(found)[0], query)
    name = Path(str(image)).name
    caption = (
        f'{name}: attention of {query_name(query)} in each head, the largest entropy (in nats) '
        f'first. Below, what holds {100 * args.mass:g} % of the weight.'
    )
    return CaptionedFigure(f'attention_{Path(name).stem}', png, caption)


def entropy_figure(session: AnalysisSession, images: list[Any]) -> CaptionedFigure:
    """Return the figure of the entropy of all blocks, as a mean over images."""
    x = session.batch([session.view(image) for image in images])
    found = [
        block_attention(session.backbone, x, i)
        for i in range(len(session.backbone.attention_layers()))
    ]
    png = draw_entropies(
        [entropy(one).mean(0).cpu() for one in found], [one.weights.shape[-1] for one in found]
    )
    caption = (
        'Entropy of the attention of patches, mean over patches and images. Dashed: what it '
        'would be if a patch looked at all places alike (fewer at borders).'
    )
    return CaptionedFigure('attention_entropy', png, caption)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the attention of images, and write PNGs and a page."""
    args = parse(argv)
    session = AnalysisSession(args)
    session.backbone.attention_layers()  # refuses a network without
    images = to_list(args.images)[:16]
    with errors_of_options(args, 'block', 'query', 'mass'):
        figures = [head_figure(session, image, args) for image in images]
    figures.append(entropy_figure(session, images[:4]))
    count = len(session.backbone.attention_layers())
    block = args.block % count
    lead = f'{session.lead} Block {block} of {count}, counted from 0.'
    write_figures(args.out, 'attention', 'Attention maps', lead, figures)
