"""Write figures as PNG files, and as one self-contained HTML page."""

from pathlib import Path
from typing import NamedTuple

from . import html_page


class CaptionedFigure(NamedTuple):
    """A figure as PNG, the name of its file without ending, and its caption."""

    name: str
    png: bytes
    caption: str


def write_figures(
    folder: Path, subject: str, title: str, lead: str, figures: list[CaptionedFigure], *extra: str
) -> Path:
    """Write NAME.png of each figure and SUBJECT.html with all of them into ``folder``.

    ``extra`` is HTML that follows the figures. Prints where the page is, and returns its path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        (folder / f'{figure.name}.png').write_bytes(figure.png)
    parts = [html_page.figure(figure.png, figure.caption, figure.name) for figure in figures]
    path = folder / f'{subject}.html'
    html = html_page.page(title, 'mmssl', lead, ''.join([*parts, *extra]), [])
    path.write_text(html, encoding='utf-8')
    print(f'{subject}: {path}' + (f' and {len(figures)} PNG' if figures else ''))
    return path
