"""Images in folders: class folders, one flat folder, or a list of files."""

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ..core import UserError
from ..core.errors import NoData
from ..registry import DATASETS, TRANSFORMS

EXTENSIONS = {'.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp', '.gif'}


def _images(folder: Path) -> list[Path]:
    # unlike rglob, through linked folders too: subsets of ImageNet are often made of links
    found = (Path(at, name) for at, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted(path for path in found if path.suffix.lower() in EXTENSIONS)


def _from_list(root: Path, folder: Path, ann_file: str) -> tuple[list[Path], list[int], int]:
    """Read lines ``path`` or ``path label``, paths relative to the split's folder."""
    file = Path(ann_file) if Path(ann_file).is_absolute() else root / ann_file
    if not file.is_file():
        raise NoData(f'{file}: no such list of images; correct dataset.ann_file')
    paths, labels = [], []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(' ')
        if path and label.lstrip('-').isdigit():
            labels.append(int(label))
        else:
            path = line.strip()
        paths.append(folder / path)
        if labels and len(labels) != len(paths):
            raise UserError(f'{file}, line {number}: some lines have a label and some have none')
    return paths, labels, max(labels, default=-1) + 1


@DATASETS.register_module()
class ImageFolder(Dataset):
    """Images below ``data_root/split``; one item is what ``pipeline`` makes of one image.

    Class folders give labels in sorted order; images directly in the folder have none.
    ``ann_file`` lists ``path [label]`` instead. ``share`` keeps a seeded part of each class,
    (0, 0.1) the first tenth; ``per_class`` at most so many of each. Two data sets with shares
    (0, 0.8) and (0.8, 1) have no image in common.

    Items are addressed by index or (epoch, index): all randomness of an item comes from a
    generator seeded by (seed, epoch, index), so it does not depend on workers or ranks.
    Raises NoData (a UserError) when there are no images.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        pipeline: Sequence[dict] = (),
        ann_file: str = '',
        share: tuple[float, float] = (0.0, 1.0),
        per_class: int | None = None,
        seed: int = 0,
        with_label: bool = True,
    ) -> None:
        self.root, self.seed = Path(data_root), seed
        folder = self.root / split
        if not folder.is_dir():
            raise NoData(
                f'{folder}: no such folder; pass your data by --cfg-options data_root=DIR '
                '(docs/datasets.md shows the layouts)'
            )
        if ann_file:
            self.paths, self.labels, count = _from_list(self.root, folder, ann_file)
            self.classes = tuple(map(str, range(count)))
        else:
            self._scan(folder)
        if not with_label:
            self.labels, self.classes = [], ()
        if not self.paths:
            raise NoData(f'{folder}: no images in it (looked for {", ".join(sorted(EXTENSIONS))})')
        self._keep(share, per_class)
        self.transforms = [TRANSFORMS.build(t) for t in pipeline]

    def _scan(self, folder: Path) -> None:
        self.paths = _images(folder)
        parts = [path.relative_to(folder).parts for path in self.paths]
        if any(len(p) == 1 for p in parts):
            self.classes, self.labels = (), []
            return
        self.classes = tuple(sorted({p[0] for p in parts}))
        index = {name: i for i, name in enumerate(self.classes)}
        self.labels = [index[p[0]] for p in parts]

    def _keep(self, share: tuple[float, float], per_class: int | None) -> None:
        if not 0 <= share[0] < share[1] <= 1:
            raise UserError(f'dataset.share={share}: give (from, to) with 0 <= from < to <= 1')
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(self.labels or [0] * len(self.paths)):
            groups.setdefault(label, []).append(i)
        kept = []
        for label, members in sorted(groups.items()):
            random.Random(f'split-{label}').shuffle(members)
            begin, end = (round(s * len(members)) for s in share)
            kept += members[begin:end][:per_class]
        kept.sort()
        if not kept:
            raise NoData(f'{self.root}: share={share} leaves no image of {len(self.paths)}')
        self.paths = [self.paths[i] for i in kept]
        self.labels = [self.labels[i] for i in kept] if self.labels else []

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for logs and predictions."""
        return dict(classes=self.classes)

    def describe(self) -> str:
        """One line on what was found."""
        if not self.labels:
            return f'{len(self.paths)} images without labels'
        return f'{len(self.paths)} images of {len(Counter(self.labels))} classes'

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int | tuple[int, int]) -> dict[str, Any]:
        """Return {'inputs': ..., 'data_samples': {...}} of one image."""
        epoch, index = at if isinstance(at, tuple) else (0, at)
        item: dict[str, Any] = dict(
            path=str(self.paths[index]),
            index=index,
            epoch=epoch,
            rng=random.Random(f'{self.seed}-{epoch}-{index}'),
        )
        if self.labels:
            item['label'] = self.labels[index]
        for transform in self.transforms:
            item = transform(item)
        return item
