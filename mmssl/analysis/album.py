"""Pictures of one subject in a folder: a PNG each, and one page with all of them."""

from pathlib import Path
from typing import NamedTuple

from . import page


class Plate(NamedTuple):
    """A picture as PNG, the name of its file without ending, and what it shows."""

    name: str
    png: bytes
    caption: str


def write(
    folder: Path, subject: str, title: str, lead: str, plates: list[Plate], extra: str = ''
) -> Path:
    """Write NAME.png of each plate and SUBJECT.html with all into ``folder``; return the page.

    ``extra`` is HTML that follows the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for plate in plates:
        (folder / f'{plate.name}.png').write_bytes(plate.png)
    body = ''.join(page.figure(p.png, p.caption, p.name) for p in plates)
    html = page.page(title, 'mmssl', lead, body + extra, [])
    path = folder / f'{subject}.html'
    path.write_text(html, encoding='utf-8')
    return path
