"""Source of images with label maps: layouts of CamVid, VOC, ADE20K, lists in COCO's format."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core import UserError
from ...core.errors import NoData
from ...registry import DATASETS
from ..image_formats import opened
from .base import Names, Source, UnreadableImage, existing, parsed, read_file
from .what_is_data import is_data

IGNORED = 255  # pixels that do not count
VOC_CLASSES = (
    *('background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair'),
    *('cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa'),
    *('train', 'tvmonitor'),
)


class Pair(NamedTuple):
    """An image below the root, and where its labels are: a file below it, or its annotations."""

    image: str
    labels: Any


class Layout(NamedTuple):
    """How a data set stores label maps.

    ``splits(root)`` are the names of the splits that train and measure, none where a folder is of
    another layout; ``pairs(root, split)`` the images; ``mask(root, pair)`` their labels (H, W),
    uint8; ``classes(root, split)`` the names, empty where the layout has none.
    """

    splits: Callable[[Path], tuple[str, ...]]
    pairs: Callable[[Path, str], Iterator[Pair]]
    mask: Callable[[Path, Pair], NDArray[Any]]
    classes: Callable[[Path, str], tuple[str, ...]]


def read_map(path: Path) -> NDArray[Any]:
    """Return the values of an image of one channel, uint8 (H, W), a palette's as its numbers.

    Raises UnreadableImage for a damaged file, UserError for one of colours.
    """
    try:
        with opened(read_file(path)) as image:
            mode = image.mode
            values = np.asarray(image)
    except (OSError, ValueError) as error:
        raise UnreadableImage(f'{path}: {error}', key='file', value=str(path)) from None
    if mode not in ('L', 'P'):
        raise UserError(
            f'{path}: not a label map, its mode is {mode}; save one number a pixel, 8 bits',
            key='file',
            value=str(path),
        )
    return values


# images/SPLIT, labels/SPLIT: CamVid as dataset_tools/camvid.py writes it, scenes of shapes -------
def _folder_splits(root: Path) -> tuple[str, ...]:
    there = [name for name in ('train', 'test', 'val') if (root / 'labels' / name).is_dir()]
    return tuple(there[:2]) if 'train' in there and len(there) > 1 else ()


def _folder_pairs(root: Path, split: str) -> Iterator[Pair]:
    files = sorted((root / 'images' / split).glob('*'))
    images = {file.stem: file for file in files if is_data(file.name)}
    for file in sorted((root / 'labels' / split).glob('*.png')):
        if file.stem not in images:
            raise UserError(
                f'{file}: its image is not in {root / "images" / split}; add it, or remove the map',
                key='file',
                value=str(file),
            )
        yield Pair(f'images/{split}/{images[file.stem].name}', f'labels/{split}/{file.name}')


def _map_file(root: Path, pair: Pair) -> NDArray[Any]:
    return read_map(root / pair.labels)


def _unnamed(root: Path, split: str) -> tuple[str, ...]:
    return ()


# VOC: JPEGImages, SegmentationClass, ImageSets/Segmentation/SPLIT.txt ----------------------------
def _voc_splits(root: Path) -> tuple[str, ...]:
    lists = root / 'ImageSets' / 'Segmentation'
    return ('train', 'val') if all((lists / f'{s}.txt').is_file() for s in ('train', 'val')) else ()


def _voc_pairs(root: Path, split: str) -> Iterator[Pair]:
    names = existing(root / 'ImageSets' / 'Segmentation' / f'{split}.txt', 'list')
    for name in names.read_text(encoding='utf-8').split():
        yield Pair(f'JPEGImages/{name}.jpg', f'SegmentationClass/{name}.png')


def _voc_names(root: Path, split: str) -> tuple[str, ...]:
    return VOC_CLASSES


# ADE20K: images/training, annotations/training; 0 is no class ------------------------------------
def _ade_splits(root: Path) -> tuple[str, ...]:
    names = ('training', 'validation')
    return names if all((root / 'annotations' / name).is_dir() for name in names) else ()


def _ade_pairs(root: Path, split: str) -> Iterator[Pair]:
    for file in sorted((root / 'annotations' / split).glob('*.png')):
        yield Pair(f'images/{split}/{file.stem}.jpg', f'annotations/{split}/{file.name}')


def _ade_mask(root: Path, pair: Pair) -> NDArray[Any]:
    return read_map(root / pair.labels) - np.uint8(1)  # 0 becomes 255


# lists in COCO's format: images, train.json, val.json --------------------------------------------
def _coco_splits(root: Path) -> tuple[str, ...]:
    names = ('train', 'val')
    return names if all((root / f'{name}.json').is_file() for name in names) else ()


def _coco(root: Path, split: str) -> dict[str, Any]:
    path = existing(root / f'{split}.json', 'list')
    try:
        found = parsed(path.read_bytes())
        return {key: found[key] for key in ('images', 'annotations', 'categories')}
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f'{path}: not a list of images, annotations and categories in COCO format',
            key='file',
            value=str(path),
        ) from None


def _coco_pairs(root: Path, split: str) -> Iterator[Pair]:
    content = _coco(root, split)
    of_image: dict[Any, list[Any]] = {}
    try:
        numbers = {c['id']: i for i, c in enumerate(content['categories'], 1)}
        for annotation in content['annotations']:
            entry = (numbers[annotation['category_id']], annotation['segmentation'])
            of_image.setdefault(annotation['image_id'], []).append(entry)
        images = [
            (i['file_name'], ((i['height'], i['width']), of_image.get(i['id'], [])))
            for i in content['images']
        ]
    except (KeyError, TypeError) as error:
        path = root / f'{split}.json'
        raise UserError(
            f'{path}: an entry lacks {error}, or names a category that is not listed; write it '
            "as COCO's format has it",
            key='file',
            value=str(path),
        ) from None
    for name, labels in images:
        yield Pair(f'images/{name}', labels)


def _coco_mask(root: Path, pair: Pair) -> NDArray[Any]:
    (height, width), annotations = pair.labels
    mask = np.zeros((height, width), np.uint8)
    for number, runs in annotations:
        if not isinstance(runs, dict):
            raise UserError(
                f'{root / pair.image}: its annotations are polygons; store masks as run lengths '
                '(RLE)',
                key='segmentation',
                value='polygon',
            )
        try:
            mask[decode_runs(runs['counts'], height, width)] = number
        except (ValueError, TypeError, KeyError, IndexError):
            name = str(root / pair.image)
            raise UnreadableImage(
                f'{name}: run lengths of a mask that do not fill the image', key='file', value=name
            ) from None
    return mask


def _coco_names(root: Path, split: str) -> tuple[str, ...]:
    return ('background', *(c['name'] for c in _coco(root, split)['categories']))


def decode_runs(counts: str | Sequence[int], height: int, width: int) -> NDArray[Any]:
    """Return the mask (height, width), bool, of COCO's run lengths down the columns, zeros first.

    ``counts`` are numbers, or COCO's text: five bits a character from 48 on, the sixth says that
    more follow, and from the third run on the difference to the run before the last is stored.
    Raises ValueError for runs that do not fill the mask, IndexError for a text that is cut off.
    """
    runs: list[int] = []
    if isinstance(counts, str):
        at = 0
        while at < len(counts):
            value, shift, more = 0, 0, True
            while more:
                bits = ord(counts[at]) - 48
                value |= (bits & 31) << shift
                more = bool(bits & 32)
                at += 1
                shift += 5
            if bits & 16:  # negative
                value |= -1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
    else:
        runs = list(counts)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError('the runs do not fill the image')
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


LAYOUTS = {
    'voc': Layout(_voc_splits, _voc_pairs, _map_file, _voc_names),
    'ade20k': Layout(_ade_splits, _ade_pairs, _ade_mask, _unnamed),
    'folders': Layout(_folder_splits, _folder_pairs, _map_file, _unnamed),
    'coco': Layout(_coco_splits, _coco_pairs, _coco_mask, _coco_names),
}


def label_map_layout(root: str | Path) -> tuple[str, tuple[str, ...]]:
    """Return the name of a folder's layout and its splits (training, measuring); '' and () if none.

    Of images with ``labels/test`` the test images measure, else those of ``val``.
    """
    for name, layout in LAYOUTS.items():
        splits = layout.splits(Path(root))
        if splits:
            return name, splits
    return '', ()


@DATASETS.register_module()
class LabelMapSource(Source):
    """Images with label maps, in one of the layouts that `label_map_layout` knows.

    folders: ``images/SPLIT``, ``labels/SPLIT/NAME.png``; voc: ``JPEGImages``,
    ``SegmentationClass``, ``ImageSets/Segmentation/SPLIT.txt``; ade20k: ``images/SPLIT``,
    ``annotations/SPLIT`` (0 is no class, classes count from 1); coco: ``images``, ``SPLIT.json``
    with masks as run lengths, 0 is the background. The target of an image is its mask, int64
    (H, W), `IGNORED` where pixels do not count. ``classes`` are names or, where the layout has
    none, the numbers in its maps. ``most`` keeps that many images, evenly spaced. Raises
    NoData for a folder of no such layout and for an empty split, UserError for images without
    their map.
    """

    def __init__(
        self,
        data_root: str = '',
        split: str = '',
        most: int | None = None,
        with_label: bool = True,
    ) -> None:
        self.root = Path(data_root)
        name, splits = label_map_layout(self.root)
        if not name:
            raise NoData(
                f'{data_root}: label maps in no layout that is known ({", ".join(LAYOUTS)}; '
                'docs/datasets.md)',
                key='folder',
                value=data_root,
            )
        self.layout = LAYOUTS[name]
        pairs = list(self.layout.pairs(self.root, split or splits[0]))
        if not pairs:
            raise NoData(
                f'{data_root}: split {split or splits[0]} has no label maps',
                key='split',
                value=split,
            )
        if most is not None and most < len(pairs):
            pairs = [pairs[i * len(pairs) // most] for i in range(most)]
        self.keys = Names(pair.image for pair in pairs)
        self.maps = Names(json.dumps(pair.labels) for pair in pairs)
        named = self.layout.classes(self.root, split or splits[0])
        self.classes = (named or self._numbers()) if with_label else ()

    def _numbers(self) -> tuple[str, ...]:
        """Return the numbers of the classes, from 0 to the highest in any map."""
        highest = 0
        for i in range(len(self)):
            values = np.unique(self._mask(i))
            highest = max(highest, int(values[values != IGNORED].max(initial=0)))
        return tuple(map(str, range(highest + 1)))

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, i: int) -> str:
        """Return the path of image i below the root."""
        found: str = self.keys[i]
        return found

    def name(self, i: int) -> str:
        """Return the path of image i."""
        return str(self.root / self.keys[i])

    def read(self, i: int) -> bytes:
        """Return the bytes of image i."""
        return read_file(self.root / self.keys[i])

    def _mask(self, i: int) -> NDArray[Any]:
        return self.layout.mask(self.root, Pair(self.keys[i], json.loads(self.maps[i])))

    def target(self, i: int) -> Tensor | None:
        """Return the mask of image i, int64 (H, W).

        Raises UnreadableImage for a damaged map, UserError for what is no map and for a number
        above those of the classes.
        """
        if not self.classes:
            return None
        mask = self._mask(i)
        highest = int(mask[mask != IGNORED].max(initial=0))
        if highest >= len(self.classes):
            raise UserError(
                f'{self.name(i)}: its map has the number {highest}, but there are '
                f'{len(self.classes)} classes, counted from 0',
                key='file',
                value=self.name(i),
            )
        return torch.from_numpy(mask.astype(np.int64))
