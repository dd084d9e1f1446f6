"""Source of OpenImages-v4 as EsViT keeps it: TSV rows balanced over classes, many labels each."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ...registry import DATASETS
from .base import existing
from .tsv import TsvSource

INDEX = 'train.balance_min1000.lineidx'
LABELS = 'train.label.verify_20191102.tsv'
CLASSES = 'train.label.verify_20191102.6962.tag.labelmap'


@DATASETS.register_module()
class OpenImagesSource(TsvSource):
    """OpenImages-v4 in the four files that EsViT's ``tsv_openimage.py`` names.

    The index repeats rows to balance classes. Labels come from a separate table, by key:
    ``a;b`` or a JSON list of {"class": a}; names beginning with '-' are known to be absent and
    left out. `target` is a vector (K + 1,) of 0 and 1 for the K lines of the label map, as
    upstream, whose last entry is never set. There is no single label, so no kNN monitor. Raises
    NoData when one of the files is missing.
    """

    def __init__(self, data_root: str = '', split: str = 'train', with_label: bool = True) -> None:
        super().__init__(data_root, split, index=INDEX, with_label=False)
        self.positive: dict[str, tuple[int, ...]] = {}
        if with_label:
            root = Path(data_root)
            names = existing(root / CLASSES, 'label map').read_text().splitlines()
            self.classes = tuple(name.strip() for name in names)
            self.positive = self._read(root / LABELS)

    def _read(self, path: Path) -> dict[str, tuple[int, ...]]:
        number = {name: i for i, name in enumerate(self.classes)}
        labels = {}
        for line in existing(path, 'table of labels').read_text().splitlines():
            key, _, text = line.partition('\t')
            names = text.strip().split(';')
            if text.lstrip().startswith('['):
                names = [entry['class'] for entry in json.loads(text)]
            labels[key.strip()] = tuple(number[name] for name in names if name in number)
        return labels

    def target(self, i: int) -> Tensor | None:
        """Return a multi-hot vector (K + 1,) of the classes in image i; None without labels."""
        if not self.classes:
            return None
        target = torch.zeros(len(self.classes) + 1)
        target[list(self.positive.get(self.key(i), ()))] = 1
        return target
