"""Sheets of images: nearest neighbours of queries, and patches coloured by their features."""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

RIGHT, WRONG, NEUTRAL = '#16a34a', '#dc2626', '#9aa5b1'  # of frames and lines
COLUMNS = 8  # images in a row of a patch sheet


def to_image(pixels: Tensor) -> Image.Image:
    """Pixels uint8 (3, H, W) -> PIL image."""
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def neighbour_sheet(
    rows: Sequence[Sequence[Tensor]], same_class: Sequence[Sequence[bool]], side: int
) -> Image.Image:
    """Draw a row for each query: the query, a gap, and its neighbours, the nearest first.

    ``rows`` are views uint8 (3, H, W). ``same_class`` says of each neighbour whether it has the
    query's class, which frames it green or red; an empty row leaves the neighbours unframed.
    """
    frames = [[NEUTRAL, *(RIGHT if same else WRONG for same in row)] for row in same_class]
    return image_grid([[to_image(view) for view in row] for row in rows], frames, side, gap_after=1)


def patch_sheet(
    views: Sequence[Tensor],
    colors: Tensor,
    side: int,
    resample: Image.Resampling = Image.Resampling.NEAREST,
) -> Image.Image:
    """Draw views uint8 (3, H, W), and below each its patch colours (B, h, w, 3) in 0..1.

    A single view has its colours at its right. ``resample`` enlarges the patches.
    """
    images = [to_image(view) for view in views]
    cells = [
        Image.fromarray((grid * 255).round().byte().cpu().numpy()).resize((side, side), resample)
        for grid in colors
    ]
    if len(images) == 1:
        return image_grid([[*images, *cells]], side=side)
    rows = []
    for begin in range(0, len(images), COLUMNS):
        rows += [images[begin : begin + COLUMNS], cells[begin : begin + COLUMNS]]
    return image_grid(rows, side=side)


def image_grid(
    rows: Sequence[Sequence[Image.Image]],
    frames: Sequence[Sequence[str]] | None = None,
    side: int = 96,
    gap_after: int | None = None,
) -> Image.Image:
    """Put images in rows of ``side`` px squares, the first of each row framed in ``frames``.

    ``gap_after`` leaves more room behind that many columns.
    """
    gap = side // 12
    line = max(2, side // 20)
    columns = max(len(row) for row in rows)
    extra = side // 4 - gap if gap_after else 0
    size = columns * (side + gap) - gap + extra, len(rows) * (side + gap) - gap
    sheet = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            x = j * (side + gap) + (extra if gap_after and j >= gap_after else 0)
            y = i * (side + gap)
            sheet.paste(image.resize((side, side), Image.Resampling.BICUBIC), (x, y))
            if frames and j < len(frames[i]):
                box = (x, y, x + side - 1, y + side - 1)
                draw.rectangle(box, outline=frames[i][j], width=line)
    return sheet
