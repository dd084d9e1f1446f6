"""Drawings of the page: bars with intervals, curves of few labels, sheets of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ..analysis.sheets import RIGHT, WRONG
from ..reports.figures import INK, hide_axes, png, style_axes
from .figures import Figure

# told apart by eyes that see few colours too (Okabe and Ito 2008), then a second round of them
COLOURS = (
    *('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7a5195', '#8c6d31'),
    *('#444444', '#9aa5b1'),
)
MARKS = 'osD^vPX*<>'
NAME_WIDTH = 24  # letters of a name in a drawing
SIDE = 84  # pixels of a shown image


def colour(number: int) -> str:
    """Return the colour of model ``number``."""
    return COLOURS[number % len(COLOURS)]


def short(name: str, width: int = NAME_WIDTH) -> str:
    """Return a name that fits into a drawing, its end kept."""
    return name if len(name) <= width else f'…{name[-(width - 1) :]}'


def bars(figures: Mapping[str, Figure], order: Sequence[str], title: str) -> bytes:
    """Draw a bar for each model, in their order, with its intervals -> PNG.

    The thick line is the interval over images, the thin one that over seeds.
    """
    names = [name for name in order if name in figures]
    canvas = Canvas(figsize=(4.4, 0.9 + 0.32 * len(names)), dpi=160, layout='constrained')
    axes = canvas.add_subplot()
    for i, name in enumerate(names):
        figure = figures[name]
        axes.barh(i, figure.value, color=colour(list(order).index(name)), alpha=0.75, height=0.66)
        axes.plot(figure.over_images, [i, i], color=INK, lw=2.2, solid_capstyle='butt')
        if figure.over_seeds:
            ends = [max(0, figure.over_seeds.low), min(100, figure.over_seeds.high)]
            axes.plot(ends, [i, i], color=INK, lw=0.8)
            axes.plot(figure.seeds, [i] * len(figure.seeds), '|', color=INK, ms=7)
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, None)
    axes.set_title(title, loc='left', fontsize=11.5, color=INK)
    style_axes(axes)
    axes.tick_params(axis='y', length=0)
    axes.grid(axis='x', color='#e4e7eb', lw=0.8)
    return png(canvas)


def few_label_curves(
    curves: Mapping[str, Mapping[int, Figure]], order: Sequence[str], title: str
) -> bytes:
    """Draw accuracy against labelled images a class, a line for each model with its band -> PNG."""
    rows = -(-len(curves) // 2)
    canvas = Canvas(figsize=(4.4, 2.9 + 0.2 * rows), dpi=160, layout='constrained')
    axes = canvas.add_subplot()
    sizes: list[int] = sorted({size for curve in curves.values() for size in curve})
    for name, curve in curves.items():
        number = list(order).index(name)
        x = sorted(curve)
        values = [curve[size].value for size in x]
        low, high = zip(*(curve[size].over_images for size in x), strict=True)
        axes.fill_between(x, low, high, color=colour(number), alpha=0.14, lw=0)
        axes.plot(
            x,
            values,
            color=colour(number),
            lw=1.8,
            marker=MARKS[number % len(MARKS)],
            ms=4.5,
            label=short(name),
        )
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FixedFormatter([str(size) for size in sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel('labelled images of each class', fontsize=10, color=INK)
    axes.set_title(title, loc='left', fontsize=11.5, color=INK)
    style_axes(axes)
    axes.grid(axis='y', color='#e4e7eb', lw=0.8)
    canvas.legend(loc='outside lower center', ncols=2, fontsize=8, frameon=False)
    return png(canvas)


def thumbnail(image: Image.Image, side: int = SIDE) -> Image.Image:
    """Return an image padded to a square of ``side`` pixels; small ones are enlarged whole."""
    return ImageOps.pad(image.convert('RGB'), (side, side), color='white')


def named_rows(
    rows: Sequence[tuple[str, Sequence[Image.Image], Sequence[str]]], side: int = SIDE
) -> Image.Image:
    """Draw rows of (name, images, colours of their frames), the name above its images."""
    gap, text = 6, 26
    columns = max(len(images) for _, images, _ in rows)
    width = columns * (side + gap) - gap
    sheet = Image.new('RGB', (width, len(rows) * (side + gap + text)), 'white')
    draw = ImageDraw.Draw(sheet)
    for i, (name, images, frames) in enumerate(rows):
        y = i * (side + gap + text)
        draw.text((0, y + 3), short(name, 48), fill=INK, font_size=18)
        for j, image in enumerate(images):
            x = j * (side + gap)
            sheet.paste(thumbnail(image, side), (x, y + text))
            if j < len(frames) and frames[j]:
                box = (x, y + text, x + side - 1, y + text + side - 1)
                draw.rectangle(box, outline=frames[j], width=4)
    return sheet


def captioned_images(
    images: Sequence[tuple[Image.Image, str, str]], columns: int, side: int = 100
) -> Image.Image:
    """Draw images with two lines of text below each, in rows of ``columns``."""
    gap, text = 8, 34
    rows = -(-len(images) // columns)
    size = columns * (side + gap) - gap, rows * (side + text + gap) - gap
    sheet = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(sheet)
    letters = side // 7
    for i, (image, first, second) in enumerate(images):
        x, y = (i % columns) * (side + gap), (i // columns) * (side + text + gap)
        sheet.paste(thumbnail(image, side), (x, y))
        draw.text((x, y + side + 3), first[:letters], fill=RIGHT, font_size=12)
        draw.text((x, y + side + 17), second[:letters], fill=WRONG, font_size=12)
    return sheet


def attention_figure(image: NDArray[Any], maps: Mapping[str, NDArray[Any]]) -> bytes:
    """Draw an image (H, W, 3), and beside it the attention (h, w) of each model -> PNG.

    A map is drawn from 0 to its own largest value.
    """
    columns = min(3, 1 + len(maps))
    rows = -(-(1 + len(maps)) // columns)
    size = (4.4, 4.4 / columns * rows + 0.3 * rows)
    canvas = Canvas(figsize=size, dpi=150, layout='constrained')
    places = canvas.subplots(rows, columns, squeeze=False).ravel()
    for axes in places:
        hide_axes(axes)
    places[0].imshow(image)
    for axes, (name, found) in zip(places[1:], maps.items(), strict=False):
        hide_axes(axes, short(name, 20), 9)
        axes.imshow(found, cmap='viridis', vmin=0, vmax=max(float(np.nanmax(found)), 1e-12))
    return png(canvas)
