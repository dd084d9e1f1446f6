"""Draw which regions of two pictures a network takes for the same, or measure it on a folder.

With one picture the second view is a random crop of it; with --measure, on a folder, it is the
mirrored, recoloured picture, and the share of right matches is printed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmssl.analysis import correspondence as matching
from mmssl.analysis.album import Plate
from mmssl.analysis.correspondence_figures import lines, pairs, summary_region
from mmssl.apis import cli
from mmssl.apis.images import batches, to_list
from mmssl.apis.looking import Looker, parser, publish
from mmssl.core import UserError
from mmssl.datasets import ImageFolder
from mmssl.models.backbones import Features

MARKS = ('D', '*')  # nearest to the pooled feature of its own, of the other picture


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument('images', nargs='+', help='a picture, two pictures, or a folder')
    made.add_argument('--measure', action='store_true', help='measure over all images of a folder')
    made.add_argument('--most', type=int, default=5000, help='images to measure at most')
    made.add_argument('--pairs', type=int, default=matching.COUNT, help='surest pairs to look at')
    made.add_argument('--seed', type=int, default=0, help='of the second views')
    args = made.parse_args(argv)
    if len(args.images) > 2 or (args.measure and len(args.images) > 1):
        raise UserError(f'{len(args.images)} images: give one, two to compare, or a folder')
    if args.pairs < 1 or args.most < 1:
        raise UserError('--pairs and --most are at least 1')
    return args


def measure(looker: Looker, args: argparse.Namespace) -> None:
    """Print the means over a folder, and write them as JSON."""
    folder = ImageFolder(args.images[0], with_label=False)
    files = [folder.name(i) for i in range(len(folder))][: args.most]
    scores = []
    for part in batches(files, 16):
        views = [looker.view(file) for file in part]
        seeds = range(args.seed + len(scores), args.seed + len(scores) + len(views))
        others = [matching.mirrored(v, s) for v, s in zip(views, seeds, strict=True)]
        one, two = (looker.model.encode(looker.batch(v)) for v in (views, others))
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


def plate(looker: Looker, images: Sequence[object], args: argparse.Namespace) -> Plate:
    """Return the pairs of two pictures, or of two views of one."""
    first, truth = looker.view(images[0]), None
    if len(images) == 2:
        second = looker.view(images[1])
    else:
        second, drawn = matching.other_view(first, args.seed)
        side = first.shape[-1]
        truth = (tuple(v / side for v in drawn.box), drawn.flip)
    seen = [looker.model.encode(looker.batch([view])) for view in (first, second)]
    found = pairs(seen[0].tokens[0], seen[1].tokens[0], seen[0].grid, truth, args.pairs)
    marks = [(i, region(seen[i], seen[j]), MARKS[int(i != j)]) for i in range(2) for j in range(2)]
    names = ' and '.join(Path(str(image)).name for image in images)
    caption = (
        f'{names}: the {len(found.right)} surest of {len(seen[0].tokens[0])} regions of the left '
        'picture, joined to the region most like each. '
    )
    if truth is not None:
        right, known = found.right.count(True), len(found.right) - found.right.count(None)
        caption += (
            f'Green: at most one cell from the truth ({right} of {known}); red: further off; '
            'white: not in the right view. '
        )
    caption += (
        'Diamond: the region most like the feature of its whole picture; star: most like that of '
        'the other.'
    )
    stem = '_'.join(Path(str(image)).stem for image in images)
    return Plate(f'correspondence_{stem}', lines((first, second), found, marks), caption)


def region(here: Features, whole: Features) -> Tensor:
    """Return the centre of the region of one picture most like the pooled feature of another."""
    return summary_region(whole.pooled[0], here.tokens[0], here.grid)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Draw or measure, and write."""
    args = parse(argv)
    looker = Looker(args)
    if args.measure:
        measure(looker, args)
        return
    images = args.images if len(args.images) == 2 else to_list(args.images[0])[:16]
    sets = [images] if len(args.images) == 2 else [[image] for image in images]
    plates = [plate(looker, one, args) for one in sets]
    publish(args.out, 'correspondence', 'What it takes for the same', looker.lead, plates)


if __name__ == '__main__':
    cli.run(main)
