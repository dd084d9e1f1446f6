"""Compare the classes of a model's heads, of the data sets and of COCO's lists before training."""

import copy
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn

from ..config.nested import nested_dicts
from ..core import UserError
from ..core.io import atomic_write

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
HEADS = re.compile(r'(?!backbone|neck)(.*\.)?\w*_head(\.\d+)?$')
# parts that count other things than the data's classes: objects or none, stuff, edges
OTHER_HEADS = re.compile(r'(rpn|semantic|auxiliary|panoptic\w*)_head(\.\d+)?$')
MARK = b'\xef\xbb\xbf'  # a byte order mark
SHOWN = 3


def check_data_classes(cfg: Config, library: str) -> tuple[str, ...] | None:
    """Compare ``metainfo`` of the data sets and annotation lists, and lists with photographs.

    Returns the names of the classes, None where the data have none. A list with a byte order mark
    is replaced in ``cfg`` by a copy without. Raises UserError for names that differ, and for lists
    without images or boxes.
    """
    lists = set()
    first: tuple[str, ...] | None = None
    with DATASETS.switch_scope_and_registry(library) as known:
        for place, node in data_sets(cfg):
            kind = node['type']  # configs in Python name classes themselves
            cls = kind if isinstance(kind, type) else known.get(kind)
            if cls is None:
                raise UserError(
                    f'{place}.type={kind}: {library} has no data set of this name; '
                    'correct it, or name its module in custom_imports',
                    key=f'{place}.type',
                    value=kind,
                )
            classes = _classes(cls, node)
            if classes is None or 'Panoptic' in cls.__name__:
                continue
            first = first or classes
            if classes != first:
                raise UserError(
                    f'{place}.metainfo: its classes ({_some(classes)}) are not those of the other '
                    f'data ({_some(first)}); give all loaders the same, in the same order',
                    key=f'{place}.metainfo.classes',
                    value=classes,
                )
            if _reads_coco(cls):
                lists.add(_joined(node, node.get('ann_file') or ''))
                check_list(classes, place, cfg, node)
    for key, metric in _evaluators(cfg):
        coco = 'Coco' in str(metric.get('type')) and metric.get('ann_file')
        if coco and first and _joined(metric, metric['ann_file']) not in lists:
            place = f'{key.removesuffix("evaluator")}dataloader.dataset'
            check_list(first, place, cfg, metric)
    return first


def data_sets(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (its place, the settings) of each data set in the loaders, wrappers left out."""
    for key in LOADERS:
        for place, node in nested_data_sets((cfg.get(key) or {}).get('dataset'), f'{key}.dataset'):
            if 'type' in node and not {'dataset', 'datasets'} & set(node):
                yield place, node


def nested_data_sets(node: Any, place: str = 'dataset') -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (its place, the settings) of a data set and of those that it wraps."""
    if isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            yield from nested_data_sets(child, f'{place}.{i}')
    elif isinstance(node, dict):
        yield place, node
        for key in ('dataset', 'datasets'):
            yield from nested_data_sets(node.get(key), f'{place}.{key}')


def _evaluators(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in ('val_evaluator', 'test_evaluator'):
        for metric in nested_dicts(cfg.get(key)):
            yield key, metric


def _classes(cls: Any, node: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of a data set's classes, None where it has none."""
    read = getattr(cls, '_load_metainfo', None)  # of mmengine's data sets, not of others
    if read is None:
        return None
    found = read(copy.deepcopy(node.get('metainfo'))).get('classes')
    if isinstance(found, str):
        raise UserError(
            f'metainfo.classes={found!r} is a text; give a tuple of names, as in '
            f"metainfo=dict(classes=('{found}',))",
            key='metainfo.classes',
            value=found,
        )
    return tuple(found) if found else None


def _reads_coco(cls: Any) -> bool:
    """Whether a data set reads its list as mmdet's `CocoDataset` does."""
    from mmdet.datasets import CocoDataset

    if not (isinstance(cls, type) and issubclass(cls, CocoDataset)):
        return False
    return all(
        getattr(cls, name) is getattr(CocoDataset, name)
        for name in ('load_data_list', 'parse_data_info', 'COCOAPI')
    )


def _joined(node: dict[str, Any], path: str) -> str:
    return path if ':/' in path else str(Path(node.get('data_root') or '') / path)


def listed_images(node: dict[str, Any]) -> int:
    """Return how many images the list of a data set's settings has.

    Raises UserError for a file that is no such list.
    """
    return len(_read(_joined(node, node['ann_file']))['images'])


# COCO's lists -------------------------------------------------------------------------------------
def check_list(classes: Sequence[str], place: str, cfg: Config, node: dict[str, Any]) -> None:
    """Compare a list of COCO's form with the names of the classes, and with its photographs.

    ``node`` are the settings of its data set, at ``place`` in ``cfg``, or of an evaluator. A list
    that begins with a byte order mark, which pycocotools does not read, is copied without it into
    the work dir. Raises UserError where names, images or boxes are missing.
    """
    path = _joined(node, node.get('ann_file') or '')
    if ':/' in path:
        return
    content = _read(path)
    names = {each.get('id'): str(each.get('name')) for each in content['categories']}
    found = content.get('annotations')  # absent in lists of images alone, as for a test server
    boxes = Counter(names.get(each.get('category_id'), 'no category') for each in found or ())
    in_order = tuple(name for name in names.values() if name in classes)
    lists = f'its categories are {_some(tuple(names.values()))}, metainfo.classes {_some(classes)}'
    key = f'{place}.metainfo.classes'
    if lacking := [name for name in classes if name not in names.values()]:
        raise UserError(
            f'{path}: has no category {_some(lacking)}: {lists}; name the same in {key}',
            key=key,
            value=tuple(classes),
        )
    more = {name: count for name, count in boxes.items() if name not in classes}
    if more and cfg.get('other_classes') != 'drop':
        count = sum(more.values())
        raise UserError(
            f'{path}: {count} of its {boxes.total()} boxes are of other classes: {lists}; name '
            f'them in {key}, or leave the boxes out by --cfg-options other_classes=drop',
            key=key,
            value=tuple(classes),
        )
    if in_order != tuple(classes):
        raise UserError(
            f'{path}: numbers its classes in another order, which mmdet takes: {lists}; give {key} '
            'in the order of the list',
            key=key,
            value=tuple(classes),
        )
    if not content['images'] or (found is not None and boxes.total() == sum(more.values())):
        what = 'boxes' if content['images'] else 'images'
        raise UserError(
            f'{path}: has no {what} ({place}), so nothing to learn or to measure; give another '
            'list',
            key='file',
            value=path,
        )
    if 'data_prefix' in node:
        _check_photographs(path, content, Path(_joined(node, node['data_prefix'].get('img', ''))))
    if Path(path).read_bytes()[:3] == MARK:
        _replace_in(cfg, path, content)


def _read(path: str) -> dict[str, Any]:
    """Return the content of a list. Raises UserError for another file."""
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
        wrong = [key for key in ('images', 'categories') if not isinstance(content.get(key), list)]
    except (ValueError, AttributeError) as error:
        raise UserError(
            f'{path}: is not a list of COCO in JSON ({error}); write it again',
            key='file',
            value=path,
        ) from None
    if wrong:
        raise UserError(
            f'{path}: is not a list of COCO: it has no {_some(wrong)}; write it again',
            key='file',
            value=path,
        )
    return dict(content)


def _check_photographs(path: str, content: dict[str, Any], folder: Path) -> None:
    """Check that the photographs of a list are there, by the names in their folders."""
    there: dict[Path, set[str]] = {}
    missing = []
    for image in content['images']:
        file = folder / image['file_name']
        if file.parent not in there:
            names = file.parent.iterdir() if file.parent.is_dir() else ()
            there[file.parent] = {each.name for each in names}
        if file.name not in there[file.parent]:
            missing.append(image['file_name'])
    if missing:
        raise UserError(
            f'{path}: {len(missing)} of its {len(content["images"])} images are not in {folder} '
            f'({_some(missing)}); bring them, or take them out of the list',
            key='file',
            value=path,
        )


def _replace_in(cfg: Config, path: str, content: dict[str, Any]) -> None:
    """Write a list without its mark into the work dir, and name that one in its place."""
    copied = Path(cfg.work_dir).resolve() / 'annotations' / Path(path).name
    atomic_write(copied, json.dumps(content) + '\n')
    for node in [node for _, node in [*data_sets(cfg), *_evaluators(cfg)]]:
        if node.get('ann_file') and _joined(node, str(node['ann_file'])) == path:
            node['ann_file'] = str(copied)


# heads --------------------------------------------------------------------------------------------
def check_heads(model: nn.Module, classes: tuple[str, ...], library: str) -> None:
    """Compare the classes of a model's heads with those of the data.

    Raises UserError for another number.
    """
    wrong = {}
    for name, head in model.named_modules():
        found = getattr(head, 'num_classes', None)  # heads of a user's own may lack it
        if found is None or not HEADS.match(name) or getattr(head, 'class_agnostic', False):
            continue
        plain_auxiliary = 'auxiliary_head' in name and type(head).__name__ == 'FCNHead'
        if OTHER_HEADS.search(name) and not plain_auxiliary:
            continue
        binary = library == 'mmseg' and found == 1 and len(classes) == 2
        if found != len(classes) and not binary:
            wrong[f'model.{name}.num_classes'] = found
    if wrong:
        given = ', '.join(f'{key}={value}' for key, value in wrong.items())
        options = ' '.join(f'{key}={len(classes)}' for key in wrong)
        raise UserError(
            f'{given}, and the data have {len(classes)} classes ({_some(classes)}); add '
            f'--cfg-options {options}',
            key=next(iter(wrong)),
            value=next(iter(wrong.values())),
        )


def _some(names: Sequence[str]) -> str:
    """Return names in words, the first of many."""
    text = ', '.join(names[: 4 * SHOWN])
    return f'{text}, ... ({len(names)})' if len(names) > 4 * SHOWN else text
