"""Page about a classifier: confusion matrix, figures of each class, images it gets wrong."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from . import html_page
from .html_page import Section

WRITTEN = 20  # classes up to which the matrix has its numbers written in it
PAIRS = 8  # of classes that are taken for each other most often


class Answers(NamedTuple):
    """True and predicted classes (N,) of images, the names of the classes, and the images."""

    truth: NDArray[Any]
    predicted: NDArray[Any]
    classes: tuple[str, ...]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, predictions: Sequence[dict[str, Any]], classes: Sequence[str]) -> 'Answers':
        """Return the answers of predictions that tell path, gt_label and pred_label."""
        return cls(
            np.array([p['gt_label'] for p in predictions], dtype=int),
            np.array([p['pred_label'] for p in predictions], dtype=int),
            tuple(classes),
            tuple(p['path'] for p in predictions),
        )

    def matrix(self) -> NDArray[Any]:
        """Return how many images of class i were taken for class j, (classes, classes)."""
        numbers = np.arange(len(self.classes))
        found: NDArray[Any] = confusion_matrix(self.truth, self.predicted, labels=numbers)
        return found

    def of_classes(self) -> list[tuple[str, int, float, float]]:
        """Return name, images, recall and precision in percent of each class."""
        numbers = np.arange(len(self.classes))
        precision, recall, _, images = precision_recall_fscore_support(
            self.truth, self.predicted, labels=numbers, zero_division=0
        )
        rows = zip(self.classes, images, 100 * recall, 100 * precision, strict=True)
        return [(name, int(n), float(r), float(p)) for name, n, r, p in rows]

    def confused(self) -> list[tuple[str, str, int]]:
        """Return the pairs (true, taken for, images) that are confused most often."""
        wrong = self.matrix()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(wrong, axis=None, kind='stable')[::-1][:PAIRS]
        places = [np.unravel_index(i, wrong.shape) for i in order]
        return [
            (self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in places if wrong[i, j]
        ]


def csv_of(answers: Answers) -> str:
    """Return the confusion matrix as CSV: a row for each true class."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(['true class', *answers.classes])
    for name, row in zip(answers.classes, answers.matrix().tolist(), strict=True):
        rows.writerow([name, *row])
    return file.getvalue()


def matrix_figure(answers: Answers) -> bytes:
    """Draw the confusion matrix, shares of each true class by colour -> PNG."""
    counts = answers.matrix()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    classes = len(answers.classes)
    side = min(max(6.5, 3.2 + 0.36 * classes), 11)  # inches; the page shows it in full width
    figure = Figure(figsize=(side, side), dpi=150, layout='constrained')
    axes = figure.add_subplot()
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set_xlabel('predicted')
    axes.set_ylabel('true')
    if classes <= WRITTEN:
        for i, j in np.argwhere(counts):
            ink = 'white' if shares[i, j] > 0.5 else 'black'
            axes.text(j, i, str(counts[i, j]), ha='center', va='center', color=ink, fontsize=8)
        axes.set_xticks(range(classes), answers.classes, rotation=60, ha='right')
        axes.set_yticks(range(classes), answers.classes)
    file = io.BytesIO()
    figure.savefig(file, format='png')
    return file.getvalue()


def build(title: str, lead: str, answers: Answers, tiles: list[tuple[str, str]]) -> str:
    """Return the page as HTML; ``tiles`` are (value, meaning) pairs at its head."""
    caption = 'Rows are true classes, columns predictions; colour is the share of a row.'
    matrix = html_page.figure(matrix_figure(answers), caption, 'confusion matrix')
    rows = [[n, f'{count:,}', f'{r:.1f}', f'{p:.1f}'] for n, count, r, p in answers.of_classes()]
    head = ['class', 'images', 'recall %', 'precision %']
    sections = [
        Section('Confusion matrix', matrix),
        Section('Classes', html_page.table(head, rows)),
    ]
    if pairs := answers.confused():
        lines = [[a, b, str(count)] for a, b, count in pairs]
        body = html_page.table(['true class', 'taken for', 'images'], lines)
        sections.append(Section('Most often confused', body))
    wrong = [
        f'{path}: {answers.classes[t]} taken for {answers.classes[p]}'
        for path, t, p in zip(answers.paths, answers.truth, answers.predicted, strict=True)
        if t != p
    ]
    if wrong:
        text = html_page.code('\n'.join(wrong), f'{len(wrong):,} images')
        sections.append(Section('Images with a wrong answer', text))
    return html_page.page(title, 'mmssl', lead, html_page.tiles(tiles), sections)
