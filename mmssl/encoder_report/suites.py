"""Suites of measures: what is measured on which kind of data, on how many images."""

from typing import NamedTuple

from ..core import UserError
from ..core.errors import closest
from ..evaluation.few_labels import SIZES


class Measure(NamedTuple):
    """A measure: its name in files, how a page calls it, and its unit's meaning in one sentence."""

    name: str
    title: str
    meaning: str


CORRESPONDENCE = Measure(
    'correspondence',
    'Correspondence',
    'share of the ten surest matches between an image and its mirrored, recoloured copy that are '
    'right (EsViT, Li et al. 2022); grids of more cells are harder',
)
FEW_LABELS = [
    Measure(
        f'few_labels_{size}',
        f'{size} label{"s" if size > 1 else ""} a class',
        f'logistic regression on {size} labelled images of each class, mean of five draws',
    )
    for size in SIZES
]
OF_CLASSES = [
    Measure('knn', 'kNN', 'vote of the 20 nearest training images, weight exp(cosine / 0.07)'),
    Measure(
        'linear',
        'Linear',
        'a linear layer on frozen features; rate and decay chosen on held-out training images',
    ),
    *FEW_LABELS,
    Measure(
        'retrieval',
        'Retrieval',
        'mean average precision of ranking the training images by cosine to each test image',
    ),
]
DENSE = [
    Measure(
        'knn_segmentation',
        'kNN segmentation',
        'mean IoU; the 30 nearest training patches vote on each patch',
    ),
    Measure(
        'linear_segmentation', 'Linear segmentation', 'mean IoU of a linear layer on frozen patches'
    ),
]
FINETUNE = Measure('finetune', 'Fine-tuning', 'accuracy after training the whole network')
MEASURES = {m.name: m for m in (*OF_CLASSES, *DENSE, CORRESPONDENCE, FINETUNE)}


class Suite(NamedTuple):
    """Which kinds of measures there are, and limits: None is all there is.

    ``images`` of each part of class folders, ``maps`` of each part of label maps, ``pairs`` images
    for correspondence, ``patches`` of training images that vote and train.
    """

    classes: bool
    dense: bool
    images: int | None
    maps: int | None
    pairs: int
    patches: int

    def measures(self, kind: str) -> list[Measure]:
        """Return the measures on data of a kind: 'classes', 'label maps' or 'images'."""
        found = list(OF_CLASSES) if self.classes and kind == 'classes' else []
        if self.dense and kind == 'label maps':
            found += DENSE
        return [*found, CORRESPONDENCE] if self.dense else found

    def most(self, kind: str) -> int | None:
        """Return how many images of each part of data of a kind are read."""
        return self.maps if kind == 'label maps' else self.images


SUITES = {
    'small': Suite(True, True, 1000, 100, 100, 10_000),
    'full': Suite(True, True, None, None, 1000, 50_000),
    'dense': Suite(False, True, 1000, None, 1000, 50_000),
}


def suite_of(name: str) -> Suite:
    """Return a suite. Raises UserError for an unknown name."""
    if name not in SUITES:
        raise UserError(
            f'--suite {name}: unknown{closest(name, SUITES)}; use {", ".join(SUITES)}',
            key='--suite',
            value=name,
        )
    return SUITES[name]
