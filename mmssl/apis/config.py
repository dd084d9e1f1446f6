"""Read a config file, apply options, and refuse mistakes before anything runs."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner as BaseRunner

from .. import registry
from ..core import UserError
from ..core.errors import closest
from . import encoder
from .check import check
from .imports import import_custom

# keys of ours beside those that mmengine's runner takes
OWN_KEYS = {
    'data_root',
    'load_part',
    'overwrite',  # the training files of an earlier run in the work dir
    'side',
    'continue_epoch',
    'sync_bn',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'compile',  # the backbones, or options of torch.compile
    'custom_imports',
    'protocol',  # what a result is to be called
    'pretrain',  # the encoder that an evaluation measures
    'features_cache',  # folder of features for the next measurement
}
RUNNER_KEYS = set(inspect.signature(BaseRunner.__init__).parameters) - {'self', 'cfg'}
TOP_KEYS = OWN_KEYS | RUNNER_KEYS


def load_config(
    path: str | Path, options: dict[str, Any] | None = None, beside: Path | None = None
) -> Config:
    """Read a config, merge ``options`` ({'a.b': value}) last, and check it.

    ``data_root`` of the top level becomes that of every data set that names none. Raises
    UserError naming the file and an unknown key or registry name, with the closest known ones.
    """
    path = Path(path)
    if not path.is_file():
        near = closest(path.name, [p.name for p in path.parent.glob('*.py')])
        raise UserError(f'{path}: no such config file{near}')
    try:
        cfg = Config.fromfile(str(path), import_custom_modules=False)
    except Exception as error:  # a config is a program: anything can go wrong in it
        raise UserError(f'{path}: {type(error).__name__}: {error}') from None
    helpers = _check_names(path, cfg)
    encoder.check_key(options or {}, cfg, path)
    _merge(cfg, options or {}, helpers)
    for name in helpers:
        cfg._cfg_dict.pop(name, None)
    files = [path, *([beside] if beside else []), *map(Path, _bases(cfg, path))]
    import_custom(cfg.get('custom_imports'), files)
    _finish(cfg)
    check(cfg, str(path))
    check_recipe(cfg)
    return cfg


def _merge(cfg: Config, options: dict[str, Any], helpers: set[str]) -> None:
    for key in options:
        first = key.split('.')[0]
        if first in helpers:
            raise UserError(
                f"--cfg-options {key}: '{first}' is a helper name of the file, already used up; "
                'name the place it went to, or edit the file'
            )
        if first not in TOP_KEYS:
            raise UserError(f"--cfg-options {key}: unknown key '{first}'{closest(first, TOP_KEYS)}")
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise UserError(f'--cfg-options: {error}') from None


def _check_names(path: Path, cfg: Config) -> set[str]:
    """Return helper names of the file; refuse a top-level name that nothing reads."""
    read: set[str] = set()
    for file in (path, *(Path(p) for p in _bases(cfg, path))):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                read.add(node.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == '_base_':
                read.add(node.attr)
    unknown = set(cfg._cfg_dict) - TOP_KEYS
    for name in sorted(unknown - read):
        raise UserError(f"{path}: unknown key '{name}'{closest(name, TOP_KEYS)}")
    return unknown


def _bases(cfg: Config, path: Path) -> list[str]:
    found, queue = [], [path]
    while queue:
        at = queue.pop()
        for name in Config._get_base_files(str(at)):
            file = Path(Config._get_cfg_path(name, str(at))[0]).resolve()  # '::' names a package
            found.append(str(file))
            queue.append(file)
    return found


def _finish(cfg: Config) -> None:
    """Fill what one top-level value decides in several places."""
    root = cfg.get('data_root')
    for node in _dicts(cfg._cfg_dict):
        if 'pipeline' in node and 'type' in node and root is not None:
            node.setdefault('data_root', root)
    for mode in ('val', 'test'):
        if cfg.get(f'{mode}_cfg') is not None and cfg.get(f'{mode}_evaluator') is None:
            cfg[f'{mode}_evaluator'] = []
    encoder.spread(cfg)
    cfg.setdefault('work_dir', None)


def _dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _dicts(value)


def check_recipe(cfg: Config) -> None:
    """Refuse numbers that cannot work together, as the method and the curves know them."""
    model = cfg.get('model')
    if not isinstance(model, dict):
        raise UserError(f'{cfg.filename}: has no model; it is a base for other configs')
    method: Any = registry.MODELS.get(model['type']) if model.get('type') else None
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if epochs is None:
        return
    curves = [(f'param_scheduler of {s.get("param_name")}', s) for s in schedulers(cfg)]
    curves += [(f'model.{k}', v) for k, v in model.items() if isinstance(v, dict) and 'start' in v]
    for where, curve in curves:
        rise = curve.get('delay', 0) + curve.get('warmup', 0)
        if isinstance(rise, (int, float)) and rise > epochs:
            raise UserError(
                f'{where}: warm-up of {rise:g} epochs is longer than train_cfg.max_epochs={epochs}'
            )
    if hasattr(method, 'check_recipe'):
        pipeline = cfg.train_dataloader.dataset.get('pipeline', [])
        multi: dict = next((t for t in pipeline if t.get('type') == 'MultiView'), {})
        views = [v for v in multi.get('views', []) for _ in range(v.get('repeat', 1))]
        method.check_recipe(model, views, multi.get('mask'))


def schedulers(cfg: Config) -> list[dict]:
    """Return the schedulers of a config as a list."""
    found = cfg.get('param_scheduler') or []
    return [found] if isinstance(found, dict) else list(found)
