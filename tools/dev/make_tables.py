"""Write the tables of the READMEs, or check that they are up to date.

A README asks for the results of configs/NAME/metafile.yml between the lines
``<!-- table:NAME begin -->`` and ``<!-- table:NAME end -->``, and for the values in which its
recipes differ from the authors' code on purpose between ``<!-- different:NAME begin -->`` and
``<!-- different:NAME end -->``; these are read from tests/data/recipes.
"""

import argparse
import csv
import lzma
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / 'tests' / 'data' / 'recipes'
BLOCK = re.compile(
    r'(<!-- (table|different):([\w-]+) begin -->\n).*?(<!-- \2:\3 end -->)', re.DOTALL
)
# whose weights and figures: heading
SOURCES = {
    'mmssl': 'trained and measured with mmssl',
    'OpenMMLab': 'weights and figures of OpenMMLab',
    'official': 'weights and figures of the official repository',
}


def read(name: str) -> list[dict[str, Any]]:
    """Return the models of configs/NAME/metafile.yml, those without a recipe last."""
    path = ROOT / 'configs' / name / 'metafile.yml'
    if not path.is_file():
        sys.exit(f'error: {path}: no such file, but a README asks for its tables')
    content = yaml.safe_load(path.read_text(encoding='utf-8'))
    return [*content['Models'], *content.get('Weights', ())]


def link(text: str, target: str) -> str:
    """Return a Markdown link."""
    return f'[{text}]({target})'


def table(rows: list[dict[str, str]]) -> str:
    """Return a Markdown table; the rows' keys are its columns, empty columns are left out."""
    columns = [c for c in rows[0] if any(row.get(c) for row in rows)]
    lines = [
        columns,
        ['---'] * len(columns),
        *([row.get(c) or '-' for c in columns] for row in rows),
    ]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def figures(model: dict[str, Any]) -> dict[str, float]:
    """Return the published figures of a model by column."""
    found = dict(model['Metadata'].get('Published', {}))
    for result in model['Results'] or ():
        found |= result['Metrics']
    return found


def decimals(figure: float) -> str:
    """Return a figure with one decimal, or with those that were published."""
    return f'{figure:.1f}' if round(figure, 1) == figure else str(figure)


def row(model: dict[str, Any], before: dict[str, str], columns: list[str]) -> dict[str, str]:
    """Return one line; ``before`` maps a downstream model to its pretraining model."""
    meta, name, found = model['Metadata'], model['Name'], figures(model)
    # weights without a recipe, or a recipe whose weights nobody published
    config, weights = Path(model.get('Config') or ''), ''
    if model.get('Weights'):
        weights = link('model', model['Weights'])
    logs = [link(f'{kind} log', address) for kind, address in model.get('Logs', {}).items()]
    weights = ' / '.join([weights, *logs]) if weights else ''
    return {
        'model': f'`{name}`',
        'pretraining': before.get(name, ''),
        'epochs': str(meta.get('Epochs', '')),
        'iterations': str(meta.get('Iterations', '')),
        'params (M)': f'{meta["Parameters"] / 1e6:.2f}',
        'FLOPs (G)': f'{meta["FLOPs"] / 1e9:.2f}',
        **{f'{c} (%)': decimals(found[c]) if c in found else '' for c in columns},
        'config': link('config', '/'.join(config.parts[2:])) if config.parts else '',
        'weights': weights,
    }


def tables(models: list[dict[str, Any]]) -> str:
    """Return one table for each source and task, pretraining first."""
    before = {d: f'`{m["Name"]}`' for m in models for d in m.get('Downstream', ())}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for model in models:
        results = model['Results']
        task = f'{results[0]["Task"]}, {results[0]["Dataset"]}' if results else 'Pretraining'
        groups.setdefault((model['Metadata']['Source'], task), []).append(model)
    out = []
    for source, heading in SOURCES.items():
        for task in dict.fromkeys(t for s, t in groups if s == source):
            group = groups[source, task]
            licences = ', '.join(dict.fromkeys(m['Metadata']['Licence'] for m in group))
            columns = list(dict.fromkeys(column for model in group for column in figures(model)))
            rows = [row(model, before, columns) for model in group]
            out.append(f'**{task}: {heading}** ({licences})\n\n{table(rows)}\n')
    return '\n'.join(out)


def rows(text: str) -> list[dict[str, str]]:
    """Return the lines of a table of recipes by column."""
    return list(csv.DictReader(text.splitlines(), delimiter='\t', quoting=csv.QUOTE_NONE))


def differences(name: str) -> str:
    """Return a table of the values in which recipes of configs/NAME differ on purpose."""
    copied = lzma.decompress((RECIPES / 'official.tsv.xz').read_bytes()).decode()
    official = rows(copied) + rows((RECIPES / 'added.tsv').read_text(encoding='utf-8'))
    by_key = {(row['recipe'], row['key']): row for row in official}
    lines = []
    for found in rows((RECIPES / 'different.tsv').read_text(encoding='utf-8')):
        row = by_key[found['recipe'], found['key']]
        if row['config'].startswith(f'configs/{name}/'):
            lines.append(
                {
                    'recipe': found['recipe'],
                    'value': found['key'],
                    'official': row['official'],
                    'here': found['ours'],
                    'why': found['reason'],
                }
            )
    return f'{table(lines)}\n' if lines else 'None.\n'


def update(text: str) -> str:
    """Return a README's text with its tables made anew."""

    def made(block: re.Match[str]) -> str:
        content = tables(read(block[3])) if block[2] == 'table' else differences(block[3])
        return f'{block[1]}\n{content}\n{block[4]}'

    return BLOCK.sub(made, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='change nothing, fail when outdated')
    args = parser.parse_args(argv)
    outdated = 0
    for path in [ROOT / 'README.md', *sorted((ROOT / 'configs').glob('*/README.md'))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding='utf-8')
        new = update(text)
        if new != text:
            outdated += 1
            print(f'{path.relative_to(ROOT)}: {"outdated" if args.check else "written"}')
            if not args.check:
                path.write_text(new, encoding='utf-8')
    if outdated and args.check:
        print('run: python tools/dev/make_tables.py')
    return int(outdated > 0 and args.check)


if __name__ == '__main__':
    sys.exit(main())
