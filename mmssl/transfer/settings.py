"""Read a config of mmdet or mmseg, and fit it to the options and this machine."""

import ast
import importlib
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS

from ..apis.check import check_call
from ..apis.config import OWN_KEYS, RUNNER_KEYS
from ..apis.imports import import_custom
from ..core import UserError
from ..core.errors import closest
from .data import move_data

LIBRARIES = ('mmdet', 'mmseg')
# what their tools read beside mmengine's runner
KEYS = OWN_KEYS | RUNNER_KEYS | {'pretrain', 'tta_model', 'tta_pipeline', 'compile'}


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
        if key.startswith('model.backbone.init_cfg'):
            raise UserError(f'--cfg-options {key}: a file to start from is given by pretrain=FILE')
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
    check_model(cfg, str(library_of(path)))
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


def check_model(cfg: Config, library: str) -> None:
    """Raise UserError for a part of the model with an unknown type or argument, or a lost start."""
    with MODELS.switch_scope_and_registry(library) as room:
        for name, part in cfg.model.items():
            for node in part if isinstance(part, list) else [part]:
                if isinstance(node, dict) and 'type' in node:
                    check_call(node, room, f'{cfg.filename}: model.{name}')
    init = cfg.model.backbone.get('init_cfg')
    if isinstance(init, str) or (
        isinstance(init, dict) and init.get('type') == 'Pretrained' and not init.get('checkpoint')
    ):
        raise UserError(
            f'{cfg.filename}: model.backbone.init_cfg={init} names no checkpoint; take it out and '
            'add --cfg-options pretrain=FILE'
        )


def fit(cfg: Config) -> None:
    """Train in full precision where there is no GPU."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and not torch.cuda.is_available():
        wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        print_log('no GPU: full precision instead of mixed', logger='current')
