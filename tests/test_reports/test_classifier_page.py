"""The page of a classifier: its counts by hand."""

import csv
import io

from mmssl.reports import classifier_page
from mmssl.reports.classifier_page import Answers

#        a a a a  b b  c
TRUTH = [0, 0, 0, 0, 1, 1, 2]
TAKEN = [0, 0, 1, 1, 1, 0, 1]
ANSWERS = Answers.of(
    [
        dict(path=f'{i}.png', gt_label=t, pred_label=p)
        for i, (t, p) in enumerate(zip(TRUTH, TAKEN, strict=True))
    ],
    ('a', 'b', 'c', 'd'),
)


def test_counts() -> None:
    matrix = [[2, 2, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert ANSWERS.matrix().tolist() == matrix
    rows = [(name, n, round(r, 2), round(p, 2)) for name, n, r, p in ANSWERS.of_classes()]
    assert rows == [('a', 4, 50.0, 66.67), ('b', 2, 50.0, 25.0), ('c', 1, 0, 0), ('d', 0, 0, 0)]
    assert ANSWERS.confused()[0] == ('a', 'b', 2)
    assert sorted(ANSWERS.confused()) == [('a', 'b', 2), ('b', 'a', 1), ('c', 'b', 1)]
    lines = list(csv.reader(io.StringIO(classifier_page.csv_of(ANSWERS))))
    assert lines[0] == ['true class', 'a', 'b', 'c', 'd']
    assert [[int(x) for x in line[1:]] for line in lines[1:]] == matrix


def test_the_page_names_wrong_images_and_escapes() -> None:
    named = ANSWERS._replace(classes=('<b>', 'b', 'c', 'd'))
    html = classifier_page.build('T', 'lead', named, [('43 %', 'top-1')])
    assert '&lt;b&gt;' in html and '<b>b' not in html
    wrong = [f'{i}.png' for i in range(7) if TRUTH[i] != TAKEN[i]]
    right = [f'{i}.png' for i in range(7) if TRUTH[i] == TAKEN[i]]
    assert all(f'{name}: ' in html for name in wrong)
    assert not any(f'{name}: ' in html for name in right)
    assert '43 %' in html and '66.7' in html
