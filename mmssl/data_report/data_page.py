"""The page about data sets: facts, figures, and for each finding images, advice and command."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from ..analysis.sheets import image_grid
from ..core import UserError
from ..datasets.transforms.load_image import LoadImage
from ..reports import html_page
from ..reports.figures import BLUE, INK, png, style_axes
from .findings import Finding, Report, class_counts, to_json

ROWS = 6  # groups of images that a finding shows
COLUMNS = 8  # images in a row
SIDE = 96  # pixels of a shown image
LISTED = 20  # names below them
CLASSES = 40  # bars of classes
NAME = 24  # letters of a class beside its bar

Thumbnail = Callable[[int], Image.Image | None]


def histogram(values: Any, title: str, label: str) -> bytes:
    """Draw how many of the values (N,) there are of each size -> PNG."""
    figure = Figure(figsize=(4.4, 2.75), dpi=160, layout='constrained')
    axes = figure.add_subplot()
    low, high = int(values.min()), int(values.max())
    if high - low < 4:  # as many bars as pixels, some of them empty
        low, high = low - 2, high + 2
    edges = np.linspace(low - 0.5, high + 0.5, min(40, high - low + 1) + 1)
    axes.hist(values, bins=edges.tolist(), color=BLUE)
    axes.set_title(title, loc='left', fontsize=11.5, color=INK)
    axes.set_xlabel(label, fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    style_axes(axes)
    return png(figure)


def shortened(name: str) -> str:
    """Return a name that fits beside a figure."""
    return name if len(name) <= NAME else f'{name[: NAME - 1].rstrip()}…'


def bars(counts: dict[str, int], title: str) -> bytes:
    """Draw a bar for each class, the largest first, at most `CLASSES` -> PNG."""
    order = sorted(counts, key=lambda name: -counts[name])
    shown = order[:CLASSES]
    figure = Figure(figsize=(4.4, max(2.75, 0.16 * len(shown))), dpi=160, layout='constrained')
    axes = figure.add_subplot()
    axes.barh([shortened(name) for name in shown], [counts[name] for name in shown], color=BLUE)
    axes.invert_yaxis()
    more = f', the largest {CLASSES} of {len(order)}' if len(order) > CLASSES else ''
    axes.set_title(f'{title}{more}', loc='left', fontsize=11.5, color=INK)
    style_axes(axes)
    axes.tick_params(axis='y', labelsize=7)
    return png(figure)


def thumbnails(report: Report, load: LoadImage) -> Thumbnail:
    """Return a function that shows image i of all sets, as `SIDE` pixels RGB, None if it cannot."""

    def shown(index: int) -> Image.Image | None:
        name, at = report.place(index)
        images = report.images[name]
        try:
            item = load(dict(path=images.name(at), bytes=images.read(at)))
            image = item['image'].preview
        except UserError:
            return None
        return ImageOps.pad(image, (SIDE, SIDE), color='white')

    return shown


def _sheet(finding: Finding, thumbnail: Thumbnail) -> str:
    groups = finding.groups
    if groups and max(map(len, groups)) == 1:  # single images: as many as rows have room for
        flat = [i for group in groups for i in group][: 3 * COLUMNS]
        groups = [flat[at : at + COLUMNS] for at in range(0, len(flat), COLUMNS)]
    shown = [[thumbnail(i) for i in group[:COLUMNS]] for group in groups[:ROWS]]
    found = [[image for image in row if image is not None] for row in shown]
    rows = [row for row in found if row]
    if not rows:
        return ''
    caption = f'{min(len(finding.groups), ROWS)} of {finding.count}, a row for each'
    longest = max(map(len, finding.groups))
    if longest == 1:
        caption = f'{sum(map(len, rows))} of {finding.count}'
    elif longest > COLUMNS:
        caption += f'; of a group its first {COLUMNS}, the largest has {longest}'
    grid = image_grid(rows, side=SIDE)
    return html_page.figure(html_page.png_bytes(grid), caption, finding.title, grid.width)


def names_of(groups: list[list[str]], count: int) -> str:
    """Return a line for each name, groups of several apart, of ``count`` the first `LISTED`."""
    shown = ['\n'.join(group) for group in groups[:LISTED]]
    if count > len(shown):
        shown.append(f'and {count - len(shown):,} more, in data.json')
    return ('\n\n' if max(map(len, groups)) > 1 else '\n').join(shown)


def _section(report: Report, finding: Finding, thumbnail: Thumbnail) -> html_page.Section:
    body = html_page.text(finding.advice)
    if finding.command:
        body += html_page.code(finding.command)
    body += _sheet(finding, thumbnail)
    if finding.key == 'unreadable':
        groups = [[cause] for _, cause in report.unreadable()]
    else:
        groups = [[report.name(i) for i in group[:LISTED]] for group in finding.groups[:LISTED]]
    if groups:
        body += html_page.code(names_of(groups, finding.count), 'Names', wrap=True)
    return html_page.Section(f'{finding.title}: {finding.count:,}', body)


def _numbers(values: list[float]) -> str:
    return ', '.join(f'{value:.3f}' for value in values)


def spread(facts: dict[str, int]) -> str:
    if facts['min'] == facts['max']:
        return str(facts['min'])
    return f'{facts["min"]} to {facts["max"]}, half of them up to {facts["median"]}'


def _set_section(report: Report, name: str, facts: dict[str, Any]) -> html_page.Section:
    images, measured = report.images[name], report.measured[name]
    rows = measured.rows[measured.rows['readable']]
    pairs = [
        ('images', images.describe()),
        ('bytes', f'{facts["bytes"] / 2**20:,.1f} MiB'),
        *(
            (side, spread(facts[side]))
            for side in ('width', 'height') if facts[side]
        ),
        ('modes', ', '.join(f'{mode}: {count:,}' for mode, count in facts['modes'].items())),
        ('mean', _numbers(facts['mean'])),
        ('std', _numbers(facts['std'])),
    ]  # fmt: skip
    figures = []
    if len(rows):
        short = np.minimum(rows['width'], rows['height'])
        picture = histogram(short, 'Short side', 'pixels')
        figures.append(html_page.figure(picture, 'Short side of the images', 'short side'))
    counts = class_counts(images)
    if counts:
        picture = bars(counts, 'Images of each class')
        figures.append(html_page.figure(picture, 'Images of each class', 'classes'))
    return html_page.Section(name, html_page.facts(pairs) + html_page.figures(figures))


def data_page(report: Report, load: LoadImage) -> str:
    """Return the whole page: self-contained HTML."""
    facts = to_json(report)
    thumbnail = thumbnails(report, load)
    sets = facts['sets']
    total = sum(entry['images'] for entry in sets.values())
    tiles = [
        (f'{total:,}', 'images'),
        (f'{facts["counts"]["unreadable"]:,}', 'cannot be read'),
        (f'{facts["counts"]["exact"]:,}', 'groups of equal files'),
        (f'{facts["counts"]["near"]:,}', 'groups of near duplicates'),
    ]
    if len(sets) > 1:
        tiles.append((f'{facts["counts"]["leaks"]:,}', 'images in several sets'))
    sections = [_section(report, finding, thumbnail) for finding in report.findings]
    sections += [_set_section(report, name, sets[name]) for name in sets]
    lead = (
        f'{len(report.findings)} findings, each with what to do about it; then the facts of each '
        'set. All numbers and more names are in data.json.'
        if report.findings
        else 'Nothing was found that needs a hand. All numbers are in data.json.'
    )
    return html_page.page(report.what, 'data', lead, html_page.tiles(tiles), sections)
