"""Every value that was read in the authors' code stands in our resolved configs."""

from collections import Counter

import pytest
import yaml

from ..helpers.official_recipes import differences, judge, parse, rows, same
from ..helpers.paths import REPO
from ..helpers.recipe_readers import MOVED, NOT_COMPARED, WORDS, Recipe, reader_of

OWN = [row for row in rows() if '/transfer/' not in row.config]


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('0.3', 0.3),
        ('None', None),
        ('(8)', (8,)),
        ('(cls, True)', ('cls', True)),
        ("({'ndim': 1}, {'match': 'a|b'})", ({'ndim': 1}, {'match': 'a|b'})),
        ('((224, 0.25, 1), (96))', ((224, 0.25, 1), (96,))),
        ('vit_small', 'vit_small'),
        ('none (of both)', 'none (of both)'),
    ],
)
def test_cells_are_read(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ('official', 'ours', 'equal'),
    [
        (1, 1.0, True),
        (True, 1, False),
        (1.333333333, 4 / 3, True),
        (1.33, 4 / 3, False),
        ((1, 2), [1, 2], True),
        ((1, 2), [1], False),
        (None, 0, False),
        (False, None, False),
        ('adamw', 'AdamW', True),
        ({'a': 1}, {'a': 1, 'b': 2}, False),
    ],
)
def test_values_are_compared(official, ours, equal):
    assert same(official, ours) is equal


def test_our_configs_have_the_official_values(capsys):
    recipes = {}
    counts = Counter()
    wrong = []
    for row in OWN:
        if (row.key, row.official) in NOT_COMPARED:
            counts['not compared'] += 1
            continue
        config = MOVED.get(row.recipe, row.config)
        if config not in recipes:
            recipes[config] = Recipe(config)
        ours = reader_of(config, row.key, row.official)(recipes[config])
        official = WORDS.get((row.key, row.official), parse(row.official))
        verdict = judge(row, official, ours)
        counts[verdict] += 1
        if verdict == 'wrong':
            wrong.append(f'{row.recipe}, {row.key}: {row.official} ({row.source}), ours {ours}')
    with capsys.disabled():
        third = sum('third party' in row.source for row in OWN)
        print(f'\n{len(OWN)} values of pretraining and probes: {dict(counts)}; {third} of them')
        print(f'from third parties; {len(paper_only())} published figures from papers only')
    assert not wrong, '\n'.join(wrong)
    assert counts['different on purpose'] == len(
        [d for d in differences().values() if d[:2] in {(r.recipe, r.key) for r in OWN}]
    )


def test_every_row_names_its_source():
    assert all(row.recipe and row.key and row.source for row in rows())
    assert len({(row.recipe, row.key) for row in rows()}) == len(rows())
    assert {d[:2] for d in differences().values()} <= {(r.recipe, r.key) for r in rows()}
    assert all(d.reason for d in differences().values())


def test_the_copied_table_is_whole():
    """The audit had so many values; rows that were added since come behind it."""
    assert len(rows()) - len(rows('added.tsv')) == 7812


def paper_only():
    """Return the figures that stand in a paper alone: model and metric."""
    found = []
    for path in (REPO / 'configs').glob('*/metafile.yml'):
        content = yaml.safe_load(path.read_text())
        for entry in (*content['Models'], *content.get('Weights', ())):
            figures = dict(entry['Metadata'].get('Published', {}))
            for result in entry['Results'] or ():
                figures |= result['Metrics']
            for name in entry['Metadata'].get('Paper Only', ()):
                found.append((entry['Name'], name, figures[name]))
    return found


def test_figures_of_papers_alone_are_said_to_be():
    assert sorted(value for _, _, value in paper_only()) == [
        38.3, 42.6, 45.4, 49.4, 53.9, 70.2, 78.5, 89.9
    ]  # fmt: skip
