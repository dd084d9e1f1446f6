"""Read a config of mmdet or mmseg, and fit it to the options, the data and this machine."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..apis.config import OWN_KEYS, RUNNER_KEYS
from ..apis.imports import import_custom
from ..core import UserError
from ..core.errors import closest

LIBRARIES = ('mmdet', 'mmseg')
# what their tools read beside mmengine's runner
KEYS = OWN_KEYS | RUNNER_KEYS | {'pretrain', 'tta_model', 'tta_pipeline', 'compile'}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def library_of(path: str | Path) -> str | None:
    """Return 'mmdet' or 'mmseg' where a config is written for it, else None.

    Says so before the config is run: a base of a library that is missing would fail there.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'default_scope':
                scope = ast.literal_eval(node.value)
                return scope if scope in LIBRARIES else None
        bases = Config._get_base_files(str(path))
    except (SyntaxError, ValueError, TypeError):
        return None  # `load_config` says what is wrong with it
    for base in bases:
        owner = base.partition('::')[0] if '::' in base else library_of(path.parent / base)
        if owner in LIBRARIES:
            return owner
    return None


def read(path: str, options: dict[str, Any]) -> Config:
    """Return a config with ``options`` merged last; ``data_root`` moves all that lies below it.

    Raises UserError naming the file and the library, key or value that is missing or wrong.
    """
    need(library_of(path), path)
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is a program: anything can go wrong in it
        raise UserError(f'{path}: {type(error).__name__}: {error}') from None
    options = dict(options)
    root = options.pop('data_root', None)
    for key in options:
        first = key.split('.')[0]
        if first not in KEYS:
            why = 'a helper name of the file, already used up' if first in cfg else 'unknown'
            raise UserError(f"--cfg-options {key}: '{first}' is {why}{closest(first, KEYS)}")
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise UserError(f'--cfg-options: {error}') from None
    if root is not None:
        move_data(cfg, str(root))
    import_custom(cfg.get('custom_imports'), [Path(path)])
    return cfg


def need(library: str | None, path: str) -> None:
    """Raise UserError, with what installs it, unless a library and mmcv's operators are there."""
    for name in ('mmcv', 'mmcv.ops', library or 'mmengine'):
        try:
            importlib.import_module(name)
        except (ImportError, AssertionError) as error:  # an assertion: versions do not fit
            raise UserError(
                f'{path}: is for {library}, but {name} cannot be imported here ({error}); '
                'install it by: make install-all'
            ) from None


# data ---------------------------------------------------------------------------------------------
def move_data(cfg: Config, root: str) -> None:
    """Replace the folder of the data wherever the config names it: data sets and evaluators."""
    dataset = (cfg.get('train_dataloader') or cfg.get('test_dataloader') or {}).get('dataset', {})
    old = cfg.get('data_root') or next((d['data_root'] for d in _datasets(dataset)), None)
    if not old:
        raise UserError(f'{cfg.filename}: names no data_root to replace by {root}')
    cfg._cfg_dict.update(_moved(cfg._cfg_dict, old.rstrip('/'), root.rstrip('/')))


def _moved(node: Any, old: str, new: str) -> Any:
    if isinstance(node, dict):
        return type(node)({key: _moved(value, old, new) for key, value in node.items()})
    if isinstance(node, (list, tuple)):
        return type(node)(_moved(value, old, new) for value in node)
    inside = isinstance(node, str) and f'{node}/'.startswith(f'{old}/')
    return new + node[len(old) :] if inside else node


def check_data(cfg: Config) -> None:
    """Raise UserError naming the first folder or list of the data that is not there."""
    for key in LOADERS:
        for dataset in _datasets((cfg.get(key) or {}).get('dataset', {})):
            root = Path(dataset['data_root'])
            prefix = dataset.get('data_prefix') or {}
            for part in ('', dataset.get('ann_file') or '', *prefix.values()):
                _check_path(root / (part or ''), key)
    for key in ('val_evaluator', 'test_evaluator'):
        for metric in _dicts(cfg.get(key)):
            if metric.get('ann_file'):
                _check_path(Path(metric['ann_file']), key)


def _check_path(path: Path, key: str) -> None:
    if not path.exists() and ':/' not in str(path):
        kind = 'file' if path.suffix else 'folder'
        raise UserError(
            f'{path}: no such {kind} ({key}); pass the folder of the data by '
            '--cfg-options data_root=FOLDER'
        )


def _datasets(node: Any) -> Iterator[dict[str, Any]]:
    return (found for found in _dicts(node) if found.get('data_root'))


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if _many(node) else ():
        yield from _dicts(value)


def _many(node: Any) -> bool:
    return isinstance(node, (list, tuple))


# machine ------------------------------------------------------------------------------------------
def fit(cfg: Config) -> None:
    """Train in full precision where there is no GPU."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        print_log('no GPU: full precision instead of mixed', logger='current')
