"""Data sets that encoders are measured on: class folders, label maps, or images alone."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..core import UserError
from ..datasets import ImageDataset
from ..datasets.sources.label_maps import label_map_layout
from ..evaluation.feature_loop import check_classes
from ..evaluation.fingerprint import SAMPLES, data_fingerprint
from ..evaluation.image_scores import MEAN, MEAN_PER_CLASS
from ..registry import TRANSFORMS

# Whose accuracy is a mean over classes, by the first letters of a name: the measure of their
# authors and of Kornblith et al. 2019 ("Do Better ImageNet Models Transfer Better?", table 1),
# whom SimCLR, BYOL and DINOv2 follow. All others: the share of right images.
PER_CLASS = {
    'pets': 'Parkhi et al. 2012, "Cats and Dogs"',
    'oxfordpets': 'Parkhi et al. 2012, "Cats and Dogs"',
    'oxfordiiitpet': 'Parkhi et al. 2012, "Cats and Dogs"',
    'flowers': 'Nilsback and Zisserman 2008, "Automated Flower Classification"',
    'oxfordflowers': 'Nilsback and Zisserman 2008, "Automated Flower Classification"',
    'aircraft': 'Maji et al. 2013, "Fine-Grained Visual Classification of Aircraft"',
    'fgvcaircraft': 'Maji et al. 2013, "Fine-Grained Visual Classification of Aircraft"',
    'caltech': 'Fei-Fei et al. 2004, "Learning Generative Visual Models"',
}


class DataSet(NamedTuple):
    """A data set by its name: root, arguments of `ImageDataset` for both parts, kind, classes.

    ``kind`` is 'classes', 'label maps' or 'images'; images alone have no labels, and ``train`` is
    what they all are. ``classes`` are names, of label maps only their number is known.
    """

    name: str
    root: Path
    train: dict[str, Any]
    test: dict[str, Any]
    kind: str
    classes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> str:
        """Which mean an accuracy on this data set is."""
        return accuracy_of(self.name)

    def open(self, most: int | None) -> 'OpenedData':
        """Read which images there are, at most ``most`` of each part.

        Of class folders every class keeps the same number, at least one. Raises UserError for
        class folders that differ.
        """
        limits: dict[str, Any] = {}
        if most is not None and self.kind == 'classes':
            limits = dict(per_class=max(1, most // len(self.classes)))
        if self.kind == 'label maps':
            limits = dict(source=dict(type='LabelMapSource', most=most))
        train = ImageDataset(str(self.root), **self.train, **limits)
        test = ImageDataset(str(self.root), **self.test, **limits)
        if self.kind == 'classes':
            check_classes(train, test)
        fingerprints = {}
        for name, images in (('train', train), ('test', test)):
            fingerprints[name] = dict(data_fingerprint(images), name=f'{self.name}/{name}')
            if self.kind == 'label maps':
                fingerprints[name]['maps'] = _maps_hash(images)
        return OpenedData(self, train, test, fingerprints)


class OpenedData(NamedTuple):
    """A data set with its two parts as `ImageDataset`, and their fingerprints by 'train', 'test'.

    Transforms are set by `use`, since every encoder has its own.
    """

    data: DataSet
    train: ImageDataset
    test: ImageDataset
    fingerprints: dict[str, dict[str, Any]]

    def use(self, pipeline: list[dict[str, Any]]) -> None:
        """Let both parts give what the transforms of ``pipeline`` make."""
        for images in (self.train, self.test):
            images.pipeline = pipeline
            images.transforms = [TRANSFORMS.build(step) for step in pipeline]

    @property
    def classes(self) -> int:
        """How many classes both parts have."""
        return max(len(self.train.classes), len(self.test.classes))


def _maps_hash(images: ImageDataset) -> str:
    """Return a hash of some label maps."""
    total = hashlib.sha256()
    for i in range(0, len(images), max(1, len(images) // SAMPLES)):
        mask = images.source.target(int(images.indices[i]))
        assert isinstance(mask, Tensor)
        total.update(mask.numpy().tobytes())
    return total.hexdigest()[:16]


def accuracy_of(name: str) -> str:
    """Return 'mean per class' for the names of data sets that are measured so, else 'mean'."""
    plain = ''.join(letter for letter in name.lower() if letter.isalnum())
    return MEAN_PER_CLASS if plain.startswith(tuple(PER_CLASS)) else MEAN


def label_maps(name: str, root: Path) -> DataSet | None:
    """Return the data set of a folder of label maps, None for other folders."""
    layout, splits = label_map_layout(root)
    if not layout:
        return None
    train, test = (dict(split=split) for split in splits)
    return DataSet(name, root, train, test, 'label maps')


def read_names(words: list[str]) -> dict[str, Path]:
    """Return folders by name, of words NAME=DIR, or DIR whose name is then the folder's.

    Raises UserError for a folder that is not there and for a name given twice.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition('=')
        root = Path(folder if equals else word)
        name = name if equals else root.resolve().name
        if not root.is_dir() or not name:
            raise UserError(
                f'--data {word}: no such folder; write NAME=DIR', key='--data', value=word
            )
        if name in found:
            raise UserError(f'--data {name}: given twice', key='--data', value=word)
        found[name] = root
    return found
