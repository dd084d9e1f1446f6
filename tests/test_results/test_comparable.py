"""Results side by side, and results that must not be compared."""

import copy
import json

import pytest

from mmssl.results.comparable import read_result, rows_of, verdicts_of

from ..helpers.refusals import refuses

KNN = {
    'format': 'mmssl-result-1',
    'protocol': 'kNN',
    'encoder': dict(asked='a.pth', weights='0a0a', layout='esvit', branch='teacher', model=''),
    'backbone': dict(type='SwinTransformer', arch='tiny', parameters=27_519_354),
    'data': {'test': dict(name='imagenet/val', images=50_000, classes=1000, hash='aa')},
    'transform': {'test': [dict(type='LoadImage'), dict(type='CenterView', size=224)]},
    'settings': {
        'k': [20, 10],
        'temperature': 0.07,
        'features': dict(blocks=1, pool='auto'),
        'half': False,
        'bank': dict(name='imagenet/train', images=1_281_167, hash='bb'),
    },
    'metric': dict(name='knn/top1', last=75.25, best=75.5, best_at='knn/top1_k10'),
    'warnings': [],
    'seed': 0,
    'commit': 'c0',
}


def put(folder, name, **changes):
    """Write a result with changes ('settings.k' is settings__k) into a work dir of its own."""
    content = copy.deepcopy(KNN)
    for place, value in changes.items():
        *path, last = place.split('__')
        node = content
        for key in path:
            node = node[key]
        node[last] = value
    (folder / name).mkdir()
    (folder / name / 'result.json').write_text(json.dumps(content))
    return folder / name


def compare(*paths):
    """Return the verdict on each pair."""
    return verdicts_of([path.name for path in paths], [read_result(path) for path in paths])


def test_another_network_is_comparable(tmp_path):
    a = put(tmp_path, 'a')
    b = put(tmp_path, 'b', encoder__asked='b.pth', metric__last=70.0, seed=1)
    assert compare(a, b) == ['a and b: comparable']
    results = [read_result(a), read_result(b / 'result.json')]
    rows = {row[0]: row[1:] for row in rows_of(results)}
    assert rows['last'] == ['75.25', '70.00']
    assert rows['encoder'] == ['a.pth', 'b.pth']
    assert rows['best'] == ['75.50 knn/top1_k10'] * 2
    assert 'head' not in rows  # neither has one


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(protocol='linear'), 'protocol kNN and linear'),
        (dict(settings__k=[10]), 'k [20, 10] and [10]'),
        (dict(settings__temperature=0.2), 'temperature 0.07 and 0.2'),
        (dict(settings__features=dict(blocks=4, pool='mean')), "layer {'blocks': 1, 'pool': 'a"),
        (dict(settings__bank__hash='cc'), 'bank images bb and cc'),
        (dict(settings__half=True), 'half precision False and True'),
        (dict(data__test__hash='ab'), 'test images aa and ab'),
        (dict(transform__test=[dict(type='CenterView', size=256)]), 'test transform'),
        (dict(transform__normalised=dict(std=[0.228, 0.224, 0.225])), 'normalisation'),
        (dict(settings__head=dict(label_smoothing=0.1)), "head None and {'label_smoothing': 0.1}"),
        (dict(settings__probe=dict(epochs=60)), "probe None and {'epochs': 60}"),
        (dict(settings__draws=5), 'draws None and 5'),
        (dict(settings__figure='mean per class'), 'figure None and mean per class'),
        (dict(metric__name='knn/top5'), 'metric knn/top1 and knn/top5'),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else '',
)
def test_what_makes_two_results_incomparable(tmp_path, change, said):
    a, b = put(tmp_path, 'a'), put(tmp_path, 'b', **change)
    (line,) = compare(a, b)
    assert line.startswith(f'a and b: NOT comparable: {said}')


def test_every_pair_is_judged(tmp_path):
    paths = [put(tmp_path, 'a'), put(tmp_path, 'b', settings__k=[5]), put(tmp_path, 'c')]
    assert [': comparable' in line for line in compare(*paths)] == [False, True, False]


@pytest.mark.parametrize('content', ['{"sessions": []}', 'no json', '[]'])
def test_what_is_no_result_is_named(tmp_path, content):
    file = tmp_path / 'x.json'
    file.write_text(content)
    with refuses('file', str(file)):
        read_result(file)
    with refuses('file', str(tmp_path / 'result.json')):
        read_result(tmp_path)


def test_a_cell_without_a_figure_is_no_result(tmp_path):
    folder = put(tmp_path, 'a', metric=None)
    with refuses('file', str(folder / 'result.json')):
        read_result(folder)
