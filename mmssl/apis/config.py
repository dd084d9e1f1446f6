"""Read a config file, apply options, and refuse mistakes before anything runs."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS, Registry
from mmengine.runner import Runner as BaseRunner

from .. import registry
from ..core import UserError
from ..core.errors import closest
from .imports import import_custom

# keys of ours beside those that mmengine's runner takes
OWN_KEYS = {
    'data_root',
    'load_part',
    'side',
    'continue_epoch',
    'sync_bn',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'custom_imports',
}
RUNNER_KEYS = set(inspect.signature(BaseRunner.__init__).parameters) - {'self', 'cfg'}
TOP_KEYS = OWN_KEYS | RUNNER_KEYS
# arguments that the runner or a parent object supplies
INJECTED = {'type', '_scope_', 'priority'}
# where a dict with a type below such a top-level key is looked up ...
ROOMS: dict[str, Registry] = {
    'model': registry.MODELS,
    'train_dataloader': registry.DATASETS,
    'val_dataloader': registry.DATASETS,
    'test_dataloader': registry.DATASETS,
    'optim_wrapper': registry.OPTIM_WRAPPERS,
    'param_scheduler': registry.PARAM_SCHEDULERS,
    'train_cfg': registry.LOOPS,
    'val_cfg': registry.LOOPS,
    'test_cfg': registry.LOOPS,
    'default_hooks': registry.HOOKS,
    'custom_hooks': registry.HOOKS,
    'val_evaluator': registry.METRICS,
    'test_evaluator': registry.METRICS,
}
# ... and below such a key anywhere deeper
INNER_ROOMS: dict[str, Registry] = {
    'dataset': registry.DATASETS,
    'pipeline': registry.TRANSFORMS,
    'views': registry.TRANSFORMS,
    'sampler': registry.DATA_SAMPLERS,
    'optimizer': registry.OPTIMIZERS,
    'init_cfg': WEIGHT_INITIALIZERS,
}


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
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
    _merge(cfg, options or {}, helpers)
    for name in helpers:
        cfg._cfg_dict.pop(name, None)
    import_custom(cfg.get('custom_imports'), [path, *map(Path, _bases(cfg, path))])
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
            if '::' in name:
                continue
            file = (at.parent / name).resolve()
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
    model = cfg.get('model') or {}
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


def check(cfg: Config, name: str) -> None:
    """Refuse unknown types and unknown arguments anywhere in a config, before any is built."""
    for key, value in cfg._cfg_dict.items():
        room = ROOMS.get(key)
        if room is not None:
            _check_node(value, room, f'{name}: {key}')


def _check_node(node: Any, room: Registry, where: str) -> None:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            _check_node(item, room, f'{where}[{i}]')
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get('type'), str):
        _check_call(node, room, where)
    for key, value in node.items():
        _check_node(value, INNER_ROOMS.get(key, room), f'{where}.{key}')


def _check_call(node: dict, room: Registry, where: str) -> None:
    kind = node['type']
    target = room.get(kind)
    if target is None:
        known = {n for r in (room, room.parent) if r is not None for n in r.module_dict}
        raise UserError(f"{where}: type '{kind}' is not registered{closest(kind, known)}")
    takes = _arguments(target)
    if takes is None:
        return
    for key in node:
        if key not in takes and key not in INJECTED and not _extra(where, key):
            raise UserError(f"{where}: {kind} has no argument '{key}'{closest(key, takes)}")


def _extra(where: str, key: str) -> bool:
    """Arguments that a container takes out before the object is built."""
    return (key == 'repeat' and '.views[' in where) or (
        key in ('constructor', 'paramwise_cfg') and where.endswith('optim_wrapper')
    )


def _arguments(target: Any) -> set[str] | None:
    """Names a class or function accepts, following ``**kwargs`` up its bases; None: anything."""
    if not inspect.isclass(target):
        taken = inspect.signature(target).parameters.values()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in taken)
        return None if open_ended else {p.name for p in taken}
    known = {key for other in getattr(target, 'also_takes', ()) for key in _arguments(other) or ()}
    for cls in target.__mro__:
        if '__init__' not in vars(cls):
            continue
        parameters = list(inspect.signature(vars(cls)['__init__']).parameters.values())[1:]
        known |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return known
    return None
