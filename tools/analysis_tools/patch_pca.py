"""Colour the patches of pictures by the principal components of all their features."""

import argparse
from collections.abc import Sequence

import torch
from PIL import Image

from mmssl.analysis.album import Plate
from mmssl.analysis.embedding import finite
from mmssl.analysis.page import png_bytes
from mmssl.analysis.patches import color_picture, mosaic, patch_colors, picture
from mmssl.apis import cli
from mmssl.apis.images import batches, to_list
from mmssl.apis.looking import Looker, parser, publish

MOST = 32  # pictures on the sheet
BESIDE = 8


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__)
    made.add_argument('images', help='a picture, or a folder of pictures')
    return made.parse_args(argv)


def cells(colors: torch.Tensor, side: int) -> Image.Image:
    """Return the colours of patches (h, w, 3) as a picture with sharp cells."""
    return color_picture(colors).resize((side, side), Image.Resampling.NEAREST)


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    """Draw and write."""
    args = parse(argv)
    looker = Looker(args)
    views = [looker.view(image) for image in to_list(args.images)[:MOST]]
    tokens = []
    for part in batches(views, 8):
        seen = looker.model.encode(looker.batch(part))
        tokens.append(seen.tokens.float().cpu())  # (b, N, C)
    rows = torch.cat(tokens)
    finite(rows.flatten(1))
    colors = patch_colors(rows, seen.grid)  # (B, h, w, 3)
    side = 360 if len(views) == 1 else 168 if len(views) <= 4 else 112
    sheet = []
    for part in batches(list(zip(views, colors, strict=True)), BESIDE):
        sheet += [[picture(v) for v, _ in part], [cells(c, side) for _, c in part]]
    if len(views) == 1:
        sheet = [[*sheet[0], *sheet[1]]]
    h, w = seen.grid
    caption = (
        f'{len(views)} pictures and their {h} × {w} patches, coloured by the first three principal '
        'components of the features of all: like colours are like features. What the patches of '
        'a picture share is taken away first.'
    )
    plate = Plate('patch_pca', png_bytes(mosaic(sheet, side=side)), caption)
    publish(args.out, 'patch_pca', 'What its patches are to it', looker.lead, [plate])


if __name__ == '__main__':
    cli.run(main)
