"""Cells on disk: when one is read again, and when it is made anew."""

import json

import numpy as np
import pytest

from mmssl.encoder_report.cells import ARRAYS, FILE, Made, Store, folder_name
from mmssl.evaluation.image_scores import of_values

KEY = dict(encoder=dict(weights='aa'), settings=dict(k=20))
PLACE = ('timm:some/net', 'data', 'knn')


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def calls():
    return []


def ask(store, calls, key=KEY, place=PLACE):
    def make():
        calls.append(place)
        return Made(of_values(np.array([1.0, 0.0, 1.0, 1.0])), dict(predicted=np.arange(4)))

    return store.cell(place, key, make, lambda: dict(model='net'))


def test_a_cell_is_made_once(store, calls, tmp_path):
    first, there = ask(store, calls)
    assert not there and first.scores.value() == 75.0
    again, there = ask(store, calls)
    assert there and len(calls) == 1
    assert again.content == first.content
    assert again.arrays['predicted'].tolist() == [0, 1, 2, 3]
    assert again.scores.value() == 75.0
    (file,) = tmp_path.rglob(FILE)
    content = json.loads(file.read_text())
    assert content['metric'] == dict(name='knn', last=75.0, best=75.0, best_at='')
    assert content['protocol'] == 'evaluate knn' and content['model'] == 'net'
    assert content['settings'] == dict(k=20, figure='mean')


@pytest.mark.parametrize(
    'key', [dict(KEY, encoder=dict(weights='bb')), dict(KEY, settings=dict(k=10)), {}]
)
def test_another_key_makes_it_anew(store, calls, key):
    ask(store, calls)
    assert ask(store, calls, key)[1] is False
    assert len(calls) == 2


@pytest.mark.parametrize('name', [FILE, ARRAYS])
@pytest.mark.parametrize('content', [b'', b'{"key":', b'PK\x03\x04'])
def test_damaged_files_are_made_anew(store, calls, tmp_path, name, content):
    ask(store, calls)
    (file,) = tmp_path.rglob(name)
    file.write_bytes(content)
    cell, there = ask(store, calls)
    assert not there and cell.scores.value() == 75.0
    assert ask(store, calls)[1]


def test_a_cell_without_a_figure_says_why(store):
    cell, _ = store.cell(PLACE, KEY, lambda: Made(why='no attention'), dict)
    assert cell.scores is None and cell.content['metric'] is None
    again, there = store.cell(PLACE, KEY, lambda: Made(), dict)
    assert there and again.content['why'] == 'no attention'


def test_names_that_look_alike_in_a_folder_stay_apart():
    names = ['timm:a/b', 'timm:a_b', 'timm_a_b', '../x', 'x', '', 'a' * 200, 'a' * 201]
    found = [folder_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all('/' not in name and name not in ('', '.', '..') for name in found)
