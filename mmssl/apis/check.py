"""Refuse unknown names and values that cannot work anywhere in a config, before any is built."""

import inspect
from numbers import Real
from typing import Any

from mmengine.config import Config
from mmengine.registry import WEIGHT_INITIALIZERS, Registry
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from .. import registry
from ..core import UserError
from ..core.errors import closest

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
    'visualizer': registry.VISUALIZERS,
    'log_processor': registry.LOG_PROCESSORS,
}
# ... and below such a key anywhere deeper
INNER_ROOMS: dict[str, Registry] = {
    'dataset': registry.DATASETS,
    'pipeline': registry.TRANSFORMS,
    'views': registry.TRANSFORMS,
    'sampler': registry.DATA_SAMPLERS,
    'optimizer': registry.OPTIMIZERS,
    'init_cfg': WEIGHT_INITIALIZERS,
    'vis_backends': registry.VISBACKENDS,
}


def _names(call: Any, *others: str, without: tuple[str, ...] = ()) -> set[str]:
    """Names that a function takes, beside others; ``without`` are those given by its caller."""
    return {*inspect.signature(call).parameters, *others} - {'self', *without}


# what a dict without a type may hold, by the last name of its place
LOADER = _names(DataLoader.__init__, 'num_batch_per_epoch')
PLAIN: dict[str, set[str]] = {
    'train_dataloader': LOADER,
    'val_dataloader': LOADER,
    'test_dataloader': LOADER,
    'clip_grad': _names(clip_grad_norm_, 'each', without=('parameters', 'foreach')),
    'paramwise_cfg': {'rules'},
    'randomness': _names(Runner.set_randomness),
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'dist_cfg': {'backend', 'timeout'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'custom_imports': {'imports', 'allow_failed_imports'},
}
# numbers that no class checks: (type, smallest)
NUMBERS: dict[str, tuple[Any, float]] = {
    'batch_size': (int, 1),
    'num_workers': (int, 0),
    'lr': (Real, 0),
    'weight_decay': (Real, 0),
    'max_epochs': (int, 1),
    'val_interval': (int, 1),
    'accumulative_counts': (int, 1),
    'base_batch_size': (int, 1),
}


def check(cfg: Config, name: str) -> None:
    """Refuse unknown types, arguments and keys, and numbers of the wrong kind."""
    for key, value in cfg._cfg_dict.items():
        if key in ROOMS or key in PLAIN:
            _check_node(value, ROOMS.get(key, registry.MODELS), f'{name}: {key}')
    for mode in ('val', 'test'):  # the bank of kNN is the loader's data set with other arguments
        bank = (cfg.get(f'{mode}_cfg') or {}).get('bank')
        if bank and cfg.get(f'{mode}_dataloader'):
            dataset = {**cfg[f'{mode}_dataloader'].dataset, **bank}
            check_call(dataset, registry.DATASETS, f'{name}: {mode}_cfg.bank')


def _check_node(node: Any, room: Registry, where: str) -> None:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            _check_node(item, room, f'{where}[{i}]')
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get('type'), str):
        check_call(node, room, where)
    else:
        _check_keys(node, where)
    for key, value in node.items():
        _check_number(key, value, where)
        _check_node(value, INNER_ROOMS.get(key, room), f'{where}.{key}')


def _check_keys(node: dict, where: str) -> None:
    takes = PLAIN.get(where.replace(': ', '.').rsplit('.', 1)[-1])
    for key in node:
        if takes is not None and key not in takes:
            raise UserError(f"{where}: unknown key '{key}'{closest(key, takes)}")


def _check_number(key: str, value: Any, where: str) -> None:
    if key not in NUMBERS or value is None:
        return
    kind, smallest = NUMBERS[key]
    if not isinstance(value, kind) or isinstance(value, bool) or value < smallest:
        what = 'a whole number' if kind is int else 'a number'
        raise UserError(f'{where}.{key}={value!r}: give {what} of at least {smallest:g}')


def check_call(node: dict, room: Registry, where: str) -> None:
    """Refuse a type that ``room`` does not know, and an argument that the type does not take."""
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
    return (
        (key == 'repeat' and '.views[' in where)
        or (key == 'side' and where.endswith('init_cfg'))
        or (key in ('constructor', 'paramwise_cfg') and where.endswith('optim_wrapper'))
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
