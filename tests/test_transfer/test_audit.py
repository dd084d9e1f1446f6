"""Every value that was read in the authors' detectors and segmentors stands in our configs."""

from collections import Counter

import pytest

from ..helpers.official_recipes import judge, parse, rows

pytestmark = pytest.mark.transfer


def test_our_configs_have_the_official_values(capsys):
    from ..helpers.transfer_readers import NOT_COMPARED, TransferRecipe, reader_of

    recipes = {}
    counts = Counter()
    wrong = []
    for row in rows():
        if '/transfer/' not in row.config:
            continue
        if (row.key, row.note) in NOT_COMPARED:
            counts['not compared'] += 1
            continue
        if row.config not in recipes:
            recipes[row.config] = TransferRecipe(row.config)
        recipe = recipes[row.config]
        ours = reader_of(recipe, row.key)(recipe)
        verdict = judge(row, parse(row.official), ours)
        counts[verdict] += 1
        if verdict == 'wrong':
            wrong.append(f'{row.recipe}, {row.key}: {row.official} ({row.source}), ours {ours}')
    with capsys.disabled():
        print(f'\nvalues of detectors and segmentors: {dict(counts)}')
    assert not wrong, '\n'.join(wrong)
    assert counts['equal'] >= 3100
