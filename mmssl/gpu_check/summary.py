"""The page of a run of ``make gpu``: verdict, a table of the checks, and the parts of each."""

from typing import Any

from ..reports.html_page import Section, code, page, table, text, tiles

HIDDEN = ('name', 'ok', 'seconds', 'error', 'trace', 'note')
MARKS = {True: 'passed', False: 'FAILED', None: 'not run'}


def shown(value: Any) -> str:
    """Return a value as a cell shows it."""
    if isinstance(value, float):
        return f'{value:.4g}'
    if isinstance(value, dict):
        return ', '.join(f'{key} {shown(v)}' for key, v in value.items())
    if isinstance(value, list):
        return ', '.join(map(shown, value))
    return str(value)


def _part(part: dict[str, Any]) -> list[str]:
    values = [f'{key} {shown(value)}' for key, value in part.items() if key not in HIDDEN]
    said = [part[key] for key in ('error', 'note') if part.get(key)]
    return [part['name'], MARKS[part['ok']], f'{part["seconds"]:.1f}', '; '.join(said + values)]


def _section(result: dict[str, Any]) -> Section:
    body = text(f'{result["status"]}. {result["note"]}'.rstrip('. ') + '.')
    if result['parts']:
        body += table(['part', '', 's', 'values'], [_part(part) for part in result['parts']])
    for part in result['parts']:
        if part.get('trace'):
            body += code(part['trace'], f'{part["name"]}: where it failed')
    return Section(result['title'], body)


def page_of(content: dict[str, Any]) -> str:
    """Return the HTML page of a run; ``content`` is that of gpu.json."""
    results = content['checks']
    rows = [
        [r['title'], r['kind'], r['status'], f'{r["seconds"]:.1f}', f'{r["limit"]:.0f}']
        for r in results
    ]
    overview = table(['check', 'kind', 'status', 's', 'limit'], rows)
    counts = {s: sum(r['status'] == s for r in results) for s in dict.fromkeys(
        r['status'] for r in results)}  # fmt: skip
    top = tiles([(str(count), status) for status, count in counts.items()])
    sections = [Section('Checks', overview), *map(_section, results)]
    return page('mmssl on this machine', 'make gpu', content['verdict'], top, sections)
