"""Draw what each attention head looks at, and how widely: ViT, Swin, CvT, ViL and timm's ViTs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mmssl.analysis import attention_figures as figures
from mmssl.analysis.album import Plate
from mmssl.analysis.attention import Attention, Query, entropy, look, maps, mass
from mmssl.apis import cli
from mmssl.apis.images import to_list
from mmssl.apis.looking import Looker, parser, publish
from mmssl.core import UserError


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument('images', help='a picture, or a folder of pictures')
    made.add_argument(
        '--block', type=int, default=-1, help='from 0, over all stages; default: last'
    )
    made.add_argument(
        '--query', help='who looks: cls, mean or ROW,COLUMN; default: cls where there is one'
    )
    made.add_argument('--mass', type=float, default=0.6, help='share of the weight that is kept')
    return made.parse_args(argv)


def query_of(text: str | None, found: Attention) -> Query:
    """Return the query that a text means."""
    if text is None:
        return 'cls' if found.cls else 'mean'
    parts = text.split(',')
    if len(parts) == 2 and all(part.strip().isdigit() for part in parts):
        return int(parts[0]), int(parts[1])
    return text


def plate(looker: Looker, image: object, args: argparse.Namespace) -> Plate:
    """Return the heads of one picture."""
    view = looker.view(image)
    found = look(looker.backbone, looker.batch([view]), args.block)
    query = query_of(args.query, found)
    if not torch.isfinite(found.weights).all():
        raise UserError(f'{image}: attention is not finite: the checkpoint is damaged')
    shown = maps(found, query)[0]  # (M, h, w)
    kept = mass(shown.flatten(1), args.mass).view_as(shown)
    drawn = figures.heads(view, shown, kept, entropy(found)[0], query)
    name = Path(str(image)).name
    caption = (
        f'{name}: attention of {figures.asked(query)} in each head, the one that looks most widely '
        f'first, with its entropy in nats. Below, what holds {100 * args.mass:g} % of the weight.'
    )
    return Plate(f'attention_{Path(name).stem}', drawn, caption)


def spread(looker: Looker, images: list) -> Plate:
    """Return the entropy of all blocks, as a mean over pictures."""
    x = looker.batch([looker.view(image) for image in images])
    found = [look(looker.backbone, x, i) for i in range(len(looker.backbone.attention_layers()))]
    drawn = figures.entropies(
        [entropy(one).mean(0).cpu() for one in found], [one.weights.shape[-1] for one in found]
    )
    caption = (
        'Entropy of the attention of patches, mean over patches and pictures. Dashed: what it '
        'would be if a patch looked at all places alike (fewer at borders).'
    )
    return Plate('attention_entropy', drawn, caption)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and write."""
    args = parse(argv)
    looker = Looker(args)
    looker.backbone.attention_layers()  # refuses a network without
    images = to_list(args.images)[:16]
    plates = [plate(looker, image, args) for image in images]
    plates.append(spread(looker, images[:4]))
    count = len(looker.backbone.attention_layers())
    block = args.block % count
    lead = f'{looker.lead} Block {block} of {count}, counted from 0.'
    publish(args.out, 'attention', 'Where it looks', lead, plates)


if __name__ == '__main__':
    cli.run(main)
