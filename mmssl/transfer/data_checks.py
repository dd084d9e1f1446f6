"""Check that the data files of an mmdet or mmseg config exist, and move its data root."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..config.nested import nested_dicts
from ..core import UserError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def move_data(cfg: Config, root: str) -> None:
    """Replace the folder of the data wherever the config names it: data sets and evaluators.

    Raises UserError when the config names no folder.
    """
    dataset = (cfg.get('train_dataloader') or cfg.get('test_dataloader') or {}).get('dataset', {})
    old = cfg.get('data_root') or next((d['data_root'] for _, d in _datasets(dataset)), None)
    if not old:
        raise UserError(
            f'{cfg.filename}: names no data_root to replace by {root}; give the data set its own '
            'data_root in the config',
            key='data_root',
            value=root,
        )
    cfg._cfg_dict.update(_moved(cfg._cfg_dict, old.rstrip('/'), root.rstrip('/')))


def _moved(node: Any, old: str, new: str) -> Any:
    if isinstance(node, dict):
        return type(node)({key: _moved(value, old, new) for key, value in node.items()})
    if isinstance(node, (list, tuple)):
        return type(node)(_moved(value, old, new) for value in node)
    inside = isinstance(node, str) and f'{node}/'.startswith(f'{old}/')
    return new + node[len(old) :] if inside else node


def check_data(cfg: Config) -> None:
    """Check that the folders and lists of the data exist, and that images have their suffix.

    Raises UserError naming the first that is missing.
    """
    for key in LOADERS:
        node = (cfg.get(key) or {}).get('dataset', {})
        for place, dataset in _datasets(node, f'{key}.dataset'):
            root = Path(dataset['data_root'])
            prefix = dataset.get('data_prefix') or {}
            for part in ('', dataset.get('ann_file') or '', *prefix.values()):
                _check_path(root / (part or ''), key)
            _check_suffix(root / prefix.get('img_path', ''), dataset.get('img_suffix'), place)
    for key in ('val_evaluator', 'test_evaluator'):
        for metric in nested_dicts(cfg.get(key)):
            if metric.get('ann_file'):
                _check_path(Path(metric['ann_file']), key)


def _check_path(path: Path, key: str) -> None:
    if not path.exists() and ':/' not in str(path):
        kind = 'file' if path.suffix else 'folder'
        raise UserError(
            f'{path}: no such {kind} ({key}); pass the folder of the data by '
            '--cfg-options data_root=FOLDER',
            key=kind,
            value=str(path),
        )


def _check_suffix(folder: Path, suffix: str | None, place: str) -> None:
    if suffix and not next(folder.rglob(f'*{suffix}'), None):
        name = f'{place}.img_suffix'
        raise UserError(
            f'{folder}: no image in it ends in {suffix}; add --cfg-options {name}=SUFFIX',
            key=name,
            value=suffix,
        )


def _datasets(node: Any, place: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each data set with a folder below a config's value, and the key that leads to it."""
    if isinstance(node, (list, tuple)):
        children = list(enumerate(node))
    elif isinstance(node, dict):
        children = list(node.items())
        if node.get('data_root'):
            yield place, node
    else:
        return
    for key, child in children:
        yield from _datasets(child, f'{place}.{key}')
