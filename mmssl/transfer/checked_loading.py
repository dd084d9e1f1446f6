"""Loading of images and label maps in mmdet's and mmseg's pipelines, with errors in one line."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmengine.registry import TRANSFORMS as ALL_TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from ..core import UserError
from ..core.progress import LoopProgress
from ..registry import TRANSFORMS
from .class_checks import LOADERS, nested_data_sets

WIDE = ('I', 'I;16', 'I;16B', 'F')  # Pillow's modes whose values mmseg would cut to eight bits


@TRANSFORMS.register_module()
class CheckedImage:
    """A library's loading of an image, ``load``. Raises UserError naming a missing or bad file."""

    def __init__(self, load: dict[str, Any]) -> None:
        self.load = ALL_TRANSFORMS.build(load)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the image of a sample into ``img``, (H, W, 3)."""
        path = str(results.get('img_path'))
        with _named(path, 'image'):
            loaded: dict[str, Any] = self.load(results)
        return loaded


@TRANSFORMS.register_module()
class CheckedLabels:
    """mmseg's loading of a label map, ``load``, and a check of what it loaded.

    A map has one value a pixel, a class below ``num_classes`` or ``ignore_index``, and the size of
    its image. Raises UserError naming the file that is missing, unreadable or otherwise.
    """

    def __init__(self, load: dict[str, Any], num_classes: int, ignore_index: int = 255) -> None:
        self.load = ALL_TRANSFORMS.build(load)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the map of a sample into ``gt_seg_map``, uint8 (H, W)."""
        path = str(results.get('seg_map_path'))
        with _named(path, 'label map'):
            results = self.load(results)
        found = results.get('gt_seg_map')
        if found is not None:
            self._check(found, results, path)
        return results

    def _check(self, found: NDArray[Any], results: dict[str, Any], path: str) -> None:
        if found.ndim != 2:
            raise _refusal(
                path,
                f'is a colour image of {found.shape[-1]} values a pixel, and a label map has one: '
                'write the number of its class into each pixel',
            )
        height, width = results.get('ori_shape') or _size(str(results['img_path']))
        if found.shape != (height, width):
            raise _refusal(
                path,
                f'has {found.shape[1]} x {found.shape[0]} pixels, and its image '
                f'{results["img_path"]} {width} x {height}',
            )
        wrong = (found >= self.num_classes) & (found != self.ignore_index)
        if wrong.any():
            shift = bool(results.get('reduce_zero_label'))
            raise _refusal(
                path,
                f'holds the value {int(found[wrong][0]) + shift}, and the head has '
                f'{self.num_classes} classes, {shift:d} to {self.num_classes - 1 + shift}; '
                f'{self.ignore_index} is what does not count',
            )
        if Path(path).is_file():
            with Image.open(path) as image:
                if image.mode in WIDE:
                    raise _refusal(
                        path,
                        f'has more than eight bits a pixel (mode {image.mode}), which mmseg cuts '
                        'off: write it as an image of eight bits',
                    )


@contextmanager
def _named(path: str, what: str) -> Iterator[None]:
    """Name the file where the block cannot read it."""
    try:
        yield
    except FileNotFoundError:
        raise _refusal(path, f'no such {what}, which the data name') from None
    # mmcv decodes damaged files to None, OpenCV has errors of its own
    except (OSError, ValueError, AttributeError, AssertionError, cv2.error) as error:
        reason = ' '.join(str(error).split())
        raise _refusal(path, f'is not a readable {what} ({reason})') from None


def _refusal(path: str, reason: str) -> UserError:
    return UserError(f'{path}: {reason}', key='file', value=path)


def _size(path: str) -> tuple[int, int]:
    """Return height and width of an image, from its header."""
    with _named(path, 'image'), Image.open(path) as image:
        return image.height, image.width


def checked(loader: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a loader whose pipelines check what they load.

    Label maps are compared with the classes of the ``decode_head`` of ``model``, where it has one.
    """
    head = model.get('decode_head')
    if isinstance(head, (list, tuple)):  # of a cascade, alike
        head = head[-1]
    loader = copy.deepcopy(loader)
    for dataset in _with_pipelines(loader):
        dataset['pipeline'] = [_checked_step(step, head) for step in dataset['pipeline']]
    return loader


def _checked_step(step: dict[str, Any], head: dict[str, Any] | None) -> dict[str, Any]:
    kind = step.get('type')
    kind = kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]
    if kind == 'LoadImageFromFile':
        return dict(type='mmssl.CheckedImage', load=step)
    if kind == 'LoadAnnotations' and head and 'num_classes' in head:
        return dict(
            type='mmssl.CheckedLabels',
            load=step,
            num_classes=max(head['num_classes'], 2),  # a single output tells two apart
            ignore_index=head.get('ignore_index', 255),
        )
    return step


def _with_pipelines(loader: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the settings of each data set with a pipeline."""
    for _, node in nested_data_sets(loader.get('dataset')):
        if node.get('pipeline'):
            yield node


def scan_labels(cfg: Config, library: str) -> None:
    """Load every label map of the config's data once. Raises UserError naming the first bad one."""
    with DefaultScope.overwrite_default_scope(library):
        for name in LOADERS:
            for node in _with_pipelines(checked(cfg.get(name) or {}, cfg.model)):
                steps = [step for step in node['pipeline'] if step['type'] == 'mmssl.CheckedLabels']
                if not steps:
                    continue
                dataset = DATASETS.build(dict(node, pipeline=steps))
                with LoopProgress(f'label maps of {name}', len(dataset)) as progress:
                    for i in range(len(dataset)):
                        dataset[i]
                        progress.advance()
