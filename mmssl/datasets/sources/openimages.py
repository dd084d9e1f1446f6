"""Source of OpenImages-v4 as EsViT keeps it: TSV rows balanced over classes, many labels each."""

from pathlib import Path

import torch
from torch import Tensor

from ...core import UserError
from ...registry import DATASETS
from .base import parsed
from .lists import read_lines
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
    NoData when one of the files is missing, UserError when one is damaged.
    """

    def __init__(self, data_root: str = '', split: str = 'train', with_label: bool = True) -> None:
        super().__init__(data_root, split, index=INDEX, with_label=False)
        self.positive: dict[str, tuple[int, ...]] = {}
        if with_label:
            root = Path(data_root)
            self.classes = tuple(name for _, name in read_lines(root / CLASSES, 'label map'))
            self.positive = self._read(root / LABELS)

    def _read(self, path: Path) -> dict[str, tuple[int, ...]]:
        number = {name: i for i, name in enumerate(self.classes)}
        labels = {}
        for row, line in read_lines(path, 'table of labels'):
            key, _, text = line.partition('\t')
            names = text.strip().split(';')
            if text.lstrip().startswith('['):
                try:
                    names = [entry['class'] for entry in parsed(text)]
                except (ValueError, LookupError, TypeError):
                    raise UserError(
                        f'{path}, line {row}: {text[:60]!r} is no JSON list of classes; '
                        'download the table again',
                        key='file',
                        value=str(path),
                    ) from None
            labels[key.strip()] = tuple(number[name] for name in names if name in number)
        return labels

    def target(self, i: int) -> Tensor | None:
        """Return a multi-hot vector (K + 1,) of the classes in image i; None without labels."""
        if not self.classes:
            return None
        target = torch.zeros(len(self.classes) + 1)
        target[list(self.positive.get(self.key(i), ()))] = 1
        return target
