"""Figures over seeds, differences between models, and what is said of them."""

import numpy as np
import pytest
from scipy import stats

from mmssl.encoder_report.cells import Cell
from mmssl.encoder_report.encoder_page import leading, ranked
from mmssl.encoder_report.figures import difference, figure_of, verdicts
from mmssl.encoder_report.models import Model, Run
from mmssl.encoder_report.table_files import csv_of, json_of
from mmssl.evaluation.image_scores import MEAN, of_values

RNG = np.random.default_rng(0)
BASE = RNG.random(200)  # how hard an image is


def cell(share):
    """A cell in which that share of 200 images is right, the easiest first."""
    hits = (share > BASE).astype(float)
    return Cell(dict(settings=dict(figure=MEAN), why=''), dict(rows=of_values(hits).rows))


def figure(*shares):
    return figure_of([cell(share) for share in shares])


def model(name, seeds=1, source='f.pth'):
    return Model(name, tuple(Run(name, i, source) for i in range(seeds)))


def said(first, second, table, measure='knn'):
    found = [v for v in verdicts([first, second], table) if v.measure == measure]
    assert len(found) == 1
    return found[0].sentence


def test_a_figure_is_the_mean_of_its_seeds():
    found = figure(0.5, 0.7, 0.6)
    values = [100 * (share > BASE).mean() for share in (0.5, 0.7, 0.6)]
    assert found.value == pytest.approx(np.mean(values))
    assert found.seeds == pytest.approx(values)
    assert found.over_seeds == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    )
    assert found.over_images.low < found.value < found.over_images.high
    assert figure(0.5).over_seeds is None
    assert figure_of([cell(0.5), Cell(dict(why='none'), {})]) is None


def test_pairing_shows_what_separate_intervals_hide():
    a, b = figure(0.56), figure(0.50)
    assert a.over_images.low < b.over_images.high  # they overlap
    found = difference(('data', 'knn'), a, b)
    assert found.shown and found.value == pytest.approx(a.value - b.value)
    swapped = difference(('data', 'knn'), b, a)
    assert swapped.over_images == pytest.approx((-found.over_images.high, -found.over_images.low))


def test_a_difference_must_hold_over_seeds_too():
    a, b = figure(0.8, 0.5), figure(0.5, 0.52)
    found = difference(('data', 'knn'), a, b)
    assert found.over_images.excludes_zero and not found.over_seeds.excludes_zero
    assert not found.shown
    assert difference(('data', 'knn'), figure(0.8, 0.79), b).shown


def test_words_say_where_by_how_much_and_where_not():
    a, b = model('A'), model('B')
    table = {
        'A': {(d, 'knn'): figure(s) for d, s in (('X', 0.8), ('Y', 0.7), ('DTD', 0.5))},
        'B': {(d, 'knn'): figure(s) for d, s in (('X', 0.6), ('Y', 0.6), ('DTD', 0.5))},
    }
    gaps = sorted(table['A'][d, 'knn'].value - table['B'][d, 'knn'].value for d in 'XY')
    text = said(a, b, table)
    assert text == (
        f'A is better than B on 2 of 3 (X, Y), by {gaps[0]:.1f} to {gaps[1]:.1f} points; no '
        'difference shown on DTD (one training run of each).'
    )
    # the better one comes first, whatever the order
    assert said(b, a, table) == text


def test_both_may_be_better_somewhere():
    table = {
        'A': {('X', 'knn'): figure(0.9), ('Y', 'knn'): figure(0.5)},
        'B': {('X', 'knn'): figure(0.5), ('Y', 'knn'): figure(0.6)},
    }
    text = said(model('A'), model('B', source='pixels'), table)
    assert 'A is better than B on 1 of 2 (X)' in text and 'B is better on 1 of 2 (Y)' in text
    assert text.endswith('(one training run of A).')


def test_seeds_of_both_leave_no_note_and_nothing_shown_is_said():
    table = {
        'A': {('X', 'knn'): figure(0.5, 0.5)},
        'B': {('X', 'knn'): figure(0.5, 0.5)},
    }
    text = said(model('A', 2), model('B', 2), table)
    assert text == 'No difference between A and B shown on X.'


def test_other_numbers_of_images_are_not_paired():
    short = figure_of([Cell(dict(settings=dict(figure=MEAN)), dict(rows=np.ones((5, 2))))])
    table = {'A': {('X', 'knn'): figure(0.5)}, 'B': {('X', 'knn'): short}}
    assert verdicts([model('A'), model('B')], table) == []


def test_the_leading_verdicts_are_about_the_best():
    models = [model(name) for name in 'ABC']
    table = {
        name: {('X', 'knn'): figure(share), ('X', 'few_labels_1'): figure(share)}
        for name, share in (('A', 0.4), ('B', 0.9), ('C', 0.6))
    }
    order = ranked(models, table)
    assert order == ['B', 'C', 'A']
    found = leading(order, verdicts(models, table))
    assert [(v.first, v.second, v.measure) for v in found] == [
        ('B', 'C', 'knn'),
        ('B', 'A', 'knn'),
    ]


def test_files_hold_every_figure_and_difference():
    table = {'A': {('X', 'knn'): figure(0.5, 0.6)}, 'B': {('X', 'knn'): figure(0.9)}}
    lines = csv_of(table).splitlines()
    assert lines[0].startswith('model,data,measure,value,low,high')
    assert lines[1].split(',')[:3] == ['A', 'X', 'knn']
    assert float(lines[1].split(',')[3]) == round(table['A']['X', 'knn'].value, 3)
    assert lines[2].split(',')[6:] == ['', '', '1', '200']
    models = [model('A', 2), model('B')]
    content = json_of(table, verdicts(models, table), dict(A=dict(flops=3)), dict(suite='small'))
    assert content['figures'][0]['seeds'] == [round(v, 3) for v in table['A']['X', 'knn'].seeds]
    (only,) = content['verdicts']
    assert (only['first'], only['differences'][0]['shown']) == ('B', True)
    assert content['costs'] == dict(A=dict(flops=3)) and content['suite'] == 'small'
