"""Check a config's types, arguments, keys and numbers against the registries, before building."""

import inspect
import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import WEIGHT_INITIALIZERS, Registry
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from .. import registry
from ..core import UserError
from ..core.errors import ErrorCollector, closest
from .argument_kinds import constructors, description, fits, wrong_arguments

Path = tuple[str | int, ...]  # keys and indices that lead to a value of a config
# arguments that the runner or a parent object supplies
INJECTED = {'type', '_scope_', 'priority'}
# where a dict with a type below such a top-level key is looked up ...
REGISTRIES: dict[str, Registry] = {
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
INNER_REGISTRIES: dict[str | int, Registry] = {
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
UNTYPED: dict[str | int, set[str]] = {
    'train_dataloader': LOADER,
    'val_dataloader': LOADER,
    'test_dataloader': LOADER,
    'clip_grad': _names(clip_grad_norm_, 'each', without=('parameters', 'foreach')),
    'paramwise_cfg': {'rules'},
    'randomness': _names(Runner.set_randomness),
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'dist_cfg': {'backend', 'timeout', 'join'},
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'custom_imports': {'imports', 'allow_failed_imports'},
}
# numbers that no class checks: (type, smallest)
NUMBERS: dict[str | int, tuple[Any, float]] = {
    'batch_size': (int, 1),
    'num_workers': (int, 0),
    'lr': (Real, 0),
    'weight_decay': (Real, 0),
    'max_epochs': (int, 1),
    'val_interval': (int, 1),
    'seed': (int, 0),
    'repeat': (int, 1),
    'accumulative_counts': (int, 1),
    'base_batch_size': (int, 1),
}
INDEX = re.compile(r'\.\d+')  # of a list, in the place of a value
# kinds of top-level values
TOP_KINDS: dict[str, Any] = {
    'work_dir': str | None,
    'experiment_name': str | None,
    'load_from': str | None,
    'data_root': str | None,
    'log_level': str,
    'custom_imports': dict | None,
    'custom_hooks': Sequence[dict[str, Any] | Hook] | None,
    'default_hooks': dict | None,
    'env_cfg': dict,
    'randomness': dict,
    'auto_scale_lr': dict | None,
    'model': dict | None,
}
# what nothing works without
NEVER_NONE = {
    'type',
    'backbone',
    'dataset',
    'pipeline',
    'optimizer',
    'batch_size',
    'max_epochs',
    'views',
}
# numbers that are divided by; a dict there is a schedule
DIVISORS = ('temperature', 'student_temp')


def check_top_kinds(cfg: Config, name: str) -> None:
    """Check the kinds of a config's top-level values. Raises UserError, UserErrors for several."""
    found = ErrorCollector()
    for key, annotation in TOP_KINDS.items():
        if key in cfg and not fits(annotation, cfg[key]):
            with found.collect():
                raise UserError(
                    f'{name}: {key}={cfg[key]!r}: give {description(annotation)}',
                    key=key,
                    value=cfg[key],
                )
    found.raise_errors()


def check(cfg: Config, name: str) -> None:
    """Check a config before anything is built; ``name`` is its file, for messages.

    Raises UserError for an unknown type, argument or key, and for a number of the wrong kind or
    below its smallest value; UserErrors for several.
    """
    found = ErrorCollector()
    for key, value in cfg._cfg_dict.items():
        if key in REGISTRIES or key in UNTYPED:
            _check_node(value, REGISTRIES.get(key, registry.MODELS), name, (key,), found)
    for mode in ('val', 'test'):  # the bank of kNN is the loader's data set with other arguments
        bank = (cfg.get(f'{mode}_cfg') or {}).get('bank')
        if bank and cfg.get(f'{mode}_dataloader'):
            dataset = {**cfg[f'{mode}_dataloader'].dataset, **bank}
            with found.collect():
                check_call(dataset, registry.DATASETS, name, (f'{mode}_cfg', 'bank'))
    distinct: dict[str, UserError] = {}
    for error in found.errors:  # what a file writes once, and uses in several views, is told once
        distinct.setdefault(INDEX.sub('', str(error)), error)
    found.errors = list(distinct.values())
    found.raise_errors()


def _check_node(node: Any, known: Registry, file: str, path: Path, found: ErrorCollector) -> None:
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            _check_node(item, known, file, (*path, i), found)
        return
    if not isinstance(node, dict):
        return
    with found.collect():
        if isinstance(node.get('type'), str):
            check_call(node, known, file, path)
        else:
            _check_keys(node, file, path)
    kinds = _wrong_kinds(node, known)
    for key, value in node.items():
        with found.collect():
            _check_given(value, file, (*path, key))
            _check_number(value, file, (*path, key))
            if key in kinds:
                where = place((*path, key))
                raise UserError(
                    f'{file}: {where}={value!r}: give {kinds[key]}', key=where, value=value
                )
        _check_node(value, INNER_REGISTRIES.get(key, known), file, (*path, key), found)


def _wrong_kinds(node: dict[str, Any], known: Registry) -> dict[str, str]:
    """Return what to give for each argument of a typed dict that has another kind of value."""
    kind = node.get('type')
    target = known.get(kind) if isinstance(kind, str) else kind
    return dict(wrong_arguments(target, node)) if target is not None else {}


def place(path: Path) -> str:
    """Return a path as --cfg-options takes it, such as 'train_dataloader.dataset.pipeline.1'."""
    return '.'.join(map(str, path))


def _check_keys(node: dict[str, Any], file: str, path: Path) -> None:
    allowed = UNTYPED.get(path[-1])
    for key in node:
        if allowed is not None and key not in allowed:
            where = place((*path, key))
            raise UserError(
                f"{file}: unknown key '{where}'{closest(key, allowed)}", key=where, value=node[key]
            )


def _check_given(value: Any, file: str, path: Path) -> None:
    if value is None and path[-1] in NEVER_NONE:
        raise UserError(f'{file}: {place(path)}=None: it must be given', key=place(path))


def _check_number(value: Any, file: str, path: Path) -> None:
    if path[-1] in DIVISORS and not isinstance(value, dict) and not _is_positive(value):
        raise UserError(
            f'{file}: {place(path)}={value!r}: give a number above 0', key=place(path), value=value
        )
    if path[-1] not in NUMBERS or value is None:
        return
    kind, smallest = NUMBERS[path[-1]]
    ordinary = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not ordinary or value < smallest:
        wanted = 'a whole number' if kind is int else 'a number'
        where = place(path)
        raise UserError(
            f'{file}: {where}={value!r}: give {wanted} of at least {smallest:g}',
            key=where,
            value=value,
        )


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def check_call(node: dict[str, Any], known: Registry, file: str, path: Path) -> None:
    """Check the type of a dict, and its arguments; ``path`` leads to it in ``file``.

    Raises UserError for a type that the registry does not know, and for an argument that the type
    does not take.
    """
    kind = node['type']
    target = known.get(kind)
    if target is None:
        registries = [known] if known.parent is None else [known, known.parent]
        names = {name for each in registries for name in each.module_dict}
        raise UserError(
            f"{file}: {place(path)}: type '{kind}' is not registered{closest(kind, names)}",
            key=place((*path, 'type')),
            value=kind,
        )
    allowed = _arguments(target)
    if allowed is None:
        return
    for key in node:
        if key not in allowed and key not in INJECTED and not _read_by_container(key, path):
            where = place((*path, key))
            raise UserError(
                f"{file}: {where}: {kind} has no argument '{key}'{closest(key, allowed)}",
                key=where,
                value=node[key],
            )


def _read_by_container(key: str, path: Path) -> bool:
    """Whether a container takes this argument out before the object is built."""
    if key == 'repeat':
        return len(path) > 1 and path[-2] == 'views'
    if key == 'branch':
        return path[-1] == 'init_cfg'
    return key in ('constructor', 'paramwise_cfg') and path[-1] == 'optim_wrapper'


def _arguments(target: Any) -> set[str] | None:
    """Names a class or function accepts, following ``**kwargs`` up its bases; None: anything."""
    if not inspect.isclass(target):
        taken = inspect.signature(target).parameters.values()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in taken)
        return None if open_ended else {p.name for p in taken}
    # a class whose ``also_takes`` names others passes their arguments on
    others = getattr(target, 'also_takes', ())
    known = {key for other in others for key in _arguments(other) or ()}
    found, open_ended = constructors(target)
    for constructor in found:
        parameters = list(inspect.signature(constructor).parameters.values())[1:]
        known |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    return None if open_ended else known
