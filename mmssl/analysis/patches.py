"""What a backbone sees, as pictures: nearest images, and patch features as colours."""

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

RIGHT, WRONG, PLAIN = '#16a34a', '#dc2626', '#9aa5b1'


@torch.no_grad()
def nearest(bank: Tensor, queries: Tensor, count: int) -> Tensor:
    """Indices (Q, count) of the bank rows (N, C) of largest cosine with queries (Q, C)."""
    similarity = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T  # (Q, N)
    return similarity.topk(min(count, len(bank)), dim=1).indices


@torch.no_grad()
def patch_colors(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """First three principal components of tokens (B, N, C) as RGB in 0..1 -> (B, h, w, 3).

    What all patches of an image have in common is taken away first. The components are shared by
    all images, so that like colours mean like features; each is stretched from its 2nd to its
    98th percentile, and its sign makes the heaviest channel positive.
    """
    rows = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 1).double()  # (B*N, C)
    axes = torch.linalg.svd(rows, full_matrices=False).Vh[:3]  # (3, C)
    heaviest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    parts = rows @ (axes * heaviest.sign()).T  # (B*N, 3)
    low, high = parts.quantile(0.02, 0), parts.quantile(0.98, 0)
    colors = ((parts - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return F.pad(colors, (0, 3 - colors.shape[1])).view(len(tokens), *grid, 3).float()


def picture(pixels: Tensor) -> Image.Image:
    """uint8 (3, H, W) -> PIL image."""
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def color_picture(colors: Tensor) -> Image.Image:
    """Colours (h, w, 3) in 0..1 -> PIL image."""
    return Image.fromarray((colors * 255).round().byte().cpu().numpy())


def mosaic(
    rows: list[list[Image.Image]],
    frames: list[list[str]] | None = None,
    side: int = 96,
    gap_after: int | None = None,
) -> Image.Image:
    """Put pictures in rows of ``side`` px squares, framed in the given colours, as far as they go.

    ``gap_after`` leaves more room behind that many columns.
    """
    gap, wide, line = side // 12, side // 4, max(2, side // 20)
    columns = max(len(row) for row in rows)
    extra = wide - gap if gap_after else 0
    size = columns * (side + gap) - gap + extra, len(rows) * (side + gap) - gap
    sheet = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            x = j * (side + gap) + (extra if gap_after and j >= gap_after else 0)
            y = i * (side + gap)
            sheet.paste(image.resize((side, side), Image.Resampling.BICUBIC), (x, y))
            color = frames[i][j] if frames and j < len(frames[i]) else None
            if color:
                draw.rectangle((x, y, x + side - 1, y + side - 1), outline=color, width=line)
    return sheet
