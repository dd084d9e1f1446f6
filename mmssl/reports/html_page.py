"""Write self-contained HTML pages: no script, no link, nothing to fetch."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from PIL import Image

STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --accent: #2563eb; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
.kicker { color: var(--accent); font-weight: 600; font-size: .85rem; margin: 0 0 .3rem; }
.soft, figcaption, .missing { color: var(--soft); }
.missing { font-style: italic; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .8rem; margin: 1.5rem 0 0; }
.tile, figure, .card { background: white; border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: .8rem; margin: .8rem 0; }
.fixed { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: .8rem 0; padding: .9rem; }
.figures figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: .88rem; line-height: 1.45; margin-top: .5rem; }
.card { padding: .4rem 1rem; margin: .8rem 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .9rem .5rem 0; border-top: 1px solid var(--line);
  vertical-align: top; }
tr:first-child > * { border-top: 0; }
th { font-weight: 500; color: var(--soft); font-size: .9rem; }
td.number, th.number { text-align: right; }
th, td.number { white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: .78rem; line-height: 1.35;
  white-space: pre-line; }
td b { font-weight: 700; color: var(--accent); }
ul { margin: .5rem 0; padding-left: 1.2rem; max-width: 46rem; }
li { margin: .25rem 0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
tr.best td { font-weight: 650; }
pre { font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; margin: .6rem 0;
  overflow-x: auto; white-space: pre; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .4rem 0; font-weight: 500; }
"""


class Section(NamedTuple):
    """A heading, and HTML below it."""

    title: str
    body: str


def text(sentence: str, kind: str = '') -> str:
    """Return a paragraph of plain text."""
    return f'<p{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(sentence)}</p>'


def heading(title: str) -> str:
    """Return a heading within a section."""
    return f'<h3>{escape(title)}</h3>'


def missing(sentence: str) -> str:
    """Return the sentence that stands where something could not be shown."""
    return text(sentence, 'missing')


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    file = io.BytesIO()
    image.save(file, format='png', optimize=True)
    return file.getvalue()


def figure(png: bytes, caption: str, alternative: str, width: int | None = None) -> str:
    """Return an embedded image with its caption; ``width`` is the most pixels it is shown on."""
    data = base64.b64encode(png).decode()
    style = f' style="max-width: {width}px"' if width else ''
    return (
        f'<figure><img alt="{escape(alternative)}"{style} src="data:image/png;base64,{data}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def figures(parts: Sequence[str], stretch: bool = True) -> str:
    """Put figures side by side where there is room; few of them fill the row if ``stretch``."""
    kind = 'figures' if stretch else 'figures fixed'
    return f'<div class="{kind}">{"".join(parts)}</div>' if parts else ''


def tiles(values: list[tuple[str, str]]) -> str:
    """Return (value, meaning) pairs as tiles."""
    parts = (
        f'<div class="tile"><b>{escape(v)}</b><span>{escape(m)}</span></div>' for v, m in values
    )
    return f'<div class="tiles">{"".join(parts)}</div>'


class Noted(NamedTuple):
    """A number of a table with lines of notes below it; the best of a column stands out."""

    value: str
    note: str = ''
    best: bool = False

    def html(self) -> str:
        """Return the HTML inside of a cell."""
        value = f'<b>{escape(self.value)}</b>' if self.best else escape(self.value)
        return value + (f'<small>{escape(self.note)}</small>' if self.note else '')


def table(
    head: Sequence[str], rows: Sequence[Sequence[str | Noted]], best: int | None = None
) -> str:
    """Return a table; the first column is text, the others numbers; row ``best`` stands out."""

    def line(cells: Sequence[str | Noted], tag: str, kind: str = '') -> str:
        inner = ''.join(
            f'<{tag}{" class=number" if i else ""}>'
            f'{cell.html() if isinstance(cell, Noted) else escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f'<tr{kind}>{inner}</tr>'

    lines = [line(row, 'td', ' class=best' if i == best else '') for i, row in enumerate(rows)]
    return f'<div class="card"><table>{line(head, "th")}{"".join(lines)}</table></div>'


def items(sentences: Sequence[str], summary: str = '') -> str:
    """Return sentences as a list, folded away below ``summary`` when there is one."""
    inner = ''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)
    if not summary:
        return f'<ul>{inner}</ul>'
    return f'<details class="card"><summary>{escape(summary)}</summary><ul>{inner}</ul></details>'


def facts(pairs: list[tuple[str, str]]) -> str:
    """Return (name, value) pairs as a two-column table."""
    rows = (f'<tr><th>{escape(n)}</th><td>{escape(v)}</td></tr>' for n, v in pairs)
    return f'<div class="card"><table>{"".join(rows)}</table></div>'


def code(content: str, summary: str = '', wrap: bool = False) -> str:
    """Return preformatted text, folded away below ``summary`` when there is one.

    Long lines of what is folded are scrolled, or wrapped.
    """
    if not summary:
        return f'<div class="card"><pre class="wrap">{escape(content)}</pre></div>'
    kind = ' class="wrap"' if wrap else ''
    return (
        f'<details class="card"><summary>{escape(summary)}</summary>'
        f'<pre{kind}>{escape(content)}</pre></details>'
    )


def page(title: str, kicker: str, lead: str, top: str, sections: list[Section]) -> str:
    """Return the whole document."""
    parts = ''.join(f'<section><h2>{escape(s.title)}</h2>{s.body}</section>' for s in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>'
        f'<header><p class="kicker">{escape(kicker)}</p><h1>{escape(title)}</h1>'
        f'{text(lead, "soft")}{top}</header>{parts}</main></body></html>\n'
    )
