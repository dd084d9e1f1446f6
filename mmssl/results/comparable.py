"""Which results of evaluations are comparable, and why others are not."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ..core import UserError
from .hook import FILE
from .result_file import FORMAT

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
    'draws': 'settings.draws',
    'patches': 'settings.patches',
    'figure': 'settings.figure',
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
    if (
        not isinstance(content, dict)
        or content.get('format') != FORMAT
        or not content.get('metric')
    ):
        raise UserError(
            f'{path}: is no result of mmssl train, test or evaluate', key='file', value=str(path)
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


def rows_of(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return rows of a table: a name, and the text of each result.

    First the metric, then what must agree for figures to be comparable, then what may differ.
    """
    metrics = [result['metric'] for result in results]
    rows = [
        ['metric', *(m['name'] for m in metrics)],
        ['last', *(f'{m["last"]:.2f}' for m in metrics)],
        ['best', *(f'{m["best"]:.2f} {m["best_at"]}'.strip() for m in metrics)],
    ]
    for name, places in {**MUST_AGREE, **MAY_DIFFER}.items():
        cells = [cell_text(result, places) for result in results]
        if any(cells):
            rows.append([name, *cells])
    return rows


def verdicts_of(names: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each pair of results: comparable, or why it is not."""
    lines = []
    for i, j in combinations(range(len(results)), 2):
        why = differences(results[i], results[j])
        verdict = f'NOT comparable: {"; ".join(why)}' if why else 'comparable'
        lines.append(f'{names[i]} and {names[j]}: {verdict}')
    return lines
