"""Put several result.json side by side and say which of them cannot be compared, and why."""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core import UserError
from ..results.hook import FILE
from ..results.result_file import FORMAT

# what two figures must share to be comparable: name -> path in the file
MUST_AGREE = {
    'protocol': 'protocol',
    'metric': 'metric.name',
    'test images': 'data.test.hash',
    'training images': 'data.train.hash',
    'bank images': 'settings.bank.hash',
    'test transform': 'transform.test',
    'training transform': 'transform.train',
    'normalisation': 'transform.normalised',
    'k': 'settings.k',
    'temperature': 'settings.temperature',
    'layer': 'settings.features',
    'blocks': 'settings.blocks',
    'pool': 'settings.pool',
    'head': 'settings.head',
    'mixing': 'settings.mixup',
    'probe': 'settings.probe',
    'epochs': 'settings.epochs',
    'batch': 'settings.batch',
    'half precision': 'settings.half',
}
# what is being compared, and may differ
MAY_DIFFER = {
    'encoder': 'encoder.asked',
    'trained by': 'encoder.model',
    'layout, branch': 'encoder.layout encoder.branch',
    'weights': 'encoder.weights',
    'backbone': 'backbone.type backbone.arch backbone.depth',
    'parameters': 'backbone.parameters',
    'data': 'data.test.name',
    'optimizer': 'settings.optimizer',
    'seed': 'seed',
    'commit': 'commit',
    'warnings': 'warnings',
}


def value_at(content: dict[str, Any], place: str) -> Any:
    """Return the value at the path 'a.b', or None."""
    node: Any = content
    for key in place.split('.'):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def cell_text(content: dict[str, Any], places: str) -> str:
    """Return the values at paths that are separated by spaces, as one text."""
    values = [value_at(content, place) for place in places.split()]
    return ' '.join(str(value)[:60] for value in values if value not in (None, '', [], {}))


def read_result(path: Path) -> dict[str, Any]:
    """Return a result; a work dir stands for its newest. Raises UserError for other files."""
    path = path / FILE if path.is_dir() else path
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f'{path}: not a readable result ({error})', key='file', value=str(path)
        ) from None
    if not isinstance(content, dict) or content.get('format') != FORMAT or 'metric' not in content:
        raise UserError(
            f'{path}: is no result of tools/train.py or tools/test.py', key='file', value=str(path)
        )
    return content


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Return what makes two results incomparable, in words."""
    if a['protocol'] != b['protocol']:  # all else would follow from it
        return [f'protocol {a["protocol"]} and {b["protocol"]}']
    found = []
    for name, place in MUST_AGREE.items():
        ours = value_at(a, place)
        theirs = value_at(b, place)
        if ours != theirs:
            small = all(len(str(value)) < 40 for value in (ours, theirs))
            found.append(f'{name} {ours} and {theirs}' if small else name)
    return found


def table(names: Sequence[str], results: Sequence[dict[str, Any]]) -> Table:
    """Return one column for each result; rows that differ and must not are marked."""
    sheet = Table('', *names)
    metric = [result['metric'] for result in results]
    sheet.add_row('metric', *(m['name'] for m in metric))
    sheet.add_row('last', *(f'[bold]{m["last"]:.2f}' for m in metric))
    sheet.add_row('best', *(f'{m["best"]:.2f} {m["best_at"]}' for m in metric), end_section=True)
    for rows, style in ((MUST_AGREE, 'red'), (MAY_DIFFER, '')):
        for name, places in rows.items():
            cells = [cell_text(result, places) for result in results]
            values = [[value_at(r, place) for place in places.split()] for r in results]
            alike = all(value == values[0] for value in values)
            if any(cells):
                sheet.add_row(name, *cells, style='' if alike else style)
        sheet.add_section()
    return sheet


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and, for each pair, why it is not comparable.

    Raises UserError for fewer than two results.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('results', nargs='+', type=Path, help='result.json files or work dirs')
    args = parser.parse_args(argv)
    names = [str(path) for path in args.results]
    if len(args.results) < 2:
        raise UserError('results: give at least two to compare', key='results', value=names)
    results = [read_result(path) for path in args.results]
    screen = Console(highlight=False)
    screen.print(table(names, results))
    pairs = {
        (i, j): differences(results[i], results[j]) for i, j in combinations(range(len(names)), 2)
    }
    for (i, j), why in pairs.items():
        verdict = f'NOT comparable: {"; ".join(why)}' if why else 'comparable'
        screen.print(f'{names[i]} and {names[j]}: {verdict}', soft_wrap=True)
    return 0
