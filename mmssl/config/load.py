"""Read a config file over the defaults, merge command-line options, and check it."""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner as BaseRunner

from .. import registry
from ..core import UserError
from ..core.errors import ErrorCollector, closest
from ..zoo.hub import config_file
from . import continuation, pretrained
from .check import check, check_top_kinds
from .class_types import name_classes
from .custom_imports import import_custom
from .dataset_wrappers import unwrap_datasets
from .defaults import merge_over_defaults
from .nested import nested_dicts
from .replaced_parts import check_replaced_parts

# keys of ours beside those that mmengine's runner takes
OWN_KEYS = {
    'data_root',
    'load_part',
    'overwrite',  # the training files of an earlier run in the work dir
    'branch',
    'continue_epoch',
    'sync_bn',
    'dtype',  # of weights and images: float32 or float64
    'find_unused_parameters',
    'model_wrapper_cfg',
    'compile',  # the backbones, or options of torch.compile
    'custom_imports',
    'protocol',  # what a result is to be called
    'pretrained',  # the encoder that an evaluation measures, or a method goes on from
    'preset',  # how a method goes on from it
    'freeze_backbone',  # epochs in which its heads learn alone
    'features_cache',  # folder of features for the next measurement
}
# what each loop needs beside itself
NEEDED = {
    'train_cfg': ('train_dataloader', 'optim_wrapper'),
    'val_cfg': ('val_dataloader',),
    'test_cfg': ('test_dataloader',),
}
RUNNER_KEYS = set(inspect.signature(BaseRunner.__init__).parameters) - {'self', 'cfg'}
TOP_KEYS = OWN_KEYS | RUNNER_KEYS


def load_config(
    path: str | Path,
    options: dict[str, Any] | None = None,
    beside: Path | None = None,
    further: Callable[[Config], None] | None = None,
) -> Config:
    """Read a config over `DEFAULTS`, merge ``options`` ({'a.b': value}) last, and check it.

    ``path`` may also be the name of a recipe of ours. ``data_root`` of the top level becomes that
    of every data set that names none. Raises UserError naming the file and an unknown key or
    registry name, with the closest known ones, and UserErrors for several settings that do not fit
    together. ``beside`` is a file whose folder is searched for ``custom_imports`` as well;
    ``further`` is a check of the caller's, whose errors are raised with these.
    """
    path = config_file(path)
    options = options or {}
    bases, cfg = _read_over_defaults(path)
    helpers = _helper_names(path, bases, cfg)
    folders = [path, *([beside] if beside else []), *bases]
    options = _go_on(cfg, options, folders)
    pretrained.replace_copy(cfg, options)
    merge_options(cfg, options, TOP_KEYS, helpers)
    for name in helpers:
        cfg._cfg_dict.pop(name, None)
    check_top_kinds(cfg, str(path))
    import_custom(cfg.get('custom_imports'), folders)
    _fill_derived(cfg)
    unwrap_datasets(cfg)
    check(cfg, str(path))
    check_replaced_parts(cfg)
    found = ErrorCollector()
    for part in (check_recipe, further):
        if part is not None:
            with found.collect():
                part(cfg)
    found.raise_errors()
    return cfg


def _go_on(cfg: Config, options: dict[str, Any], folders: list[Path]) -> dict[str, Any]:
    """Apply ``pretrained`` and what goes with it to a method's config; return the other options.

    ``folders`` are where the config's own modules are looked for. Options are merged afterwards, so
    that they overrule the preset.
    """
    given = {key: cfg[key] for key in continuation.KEYS if key in cfg}
    given |= {key: options[key] for key in continuation.KEYS if key in options}
    if not given:
        return options
    import_custom(cfg.get('custom_imports'), folders)
    is_method = bool(cfg.get('train_cfg')) and continuation.is_method(cfg.get('model'))
    source = given.get('pretrained') if is_method else None
    alone = [key for key in given if key != 'pretrained' and not source]
    if alone:
        raise UserError(
            f'{alone[0]}={given[alone[0]]!r} is for a method that goes on from an encoder: add '
            'pretrained=PATH|URL|NAME to a pretraining, or leave it out',
            key=alone[0],
            value=given[alone[0]],
        )
    if not is_method:
        return options
    if source and source != pretrained.RANDOM:
        del given['pretrained']
        continuation.go_on(cfg, source, epochs=options.get('train_cfg.max_epochs'), **given)
    for key in continuation.KEYS:
        cfg._cfg_dict.pop(key, None)
    return {key: value for key, value in options.items() if key not in continuation.KEYS}


def read_config_file(path: str | Path) -> Config:
    """Run a config file and its bases. Raises UserError naming the file for any error in it."""
    try:
        cfg = Config.fromfile(str(path), import_custom_modules=False)
    except Exception as error:  # a config is a program: anything can go wrong in it
        raise _error_in_file(path, error) from None
    name_classes(cfg, str(path))
    return cfg


def _error_in_file(path: str | Path, error: Exception) -> UserError:
    text = f'{type(error).__name__}: {" ".join(str(error).split())}'
    if isinstance(error, RecursionError):
        text = 'it is its own base, or a base of its bases; remove one _base_'
    elif 'U+FEFF' in text:
        text = 'begins with a byte order mark; save it as UTF-8 without one'
    elif isinstance(error, FileNotFoundError) and '/.mim/' in text:
        text = (
            "a base 'PACKAGE::...' is looked for in the installed package; run 'pip install -e .' "
            'in its checkout, or name the file by its path'
        )
    return UserError(f'{path}: {text}', key='file', value=str(path))


def merge_options(
    cfg: Config, options: dict[str, Any], keys: set[str], helpers: Iterable[str]
) -> None:
    """Merge ``options`` ({'a.b': value}) into a config.

    Raises UserError for a top-level name that is a helper of the file or not among ``keys``, and
    for a path that leads nowhere.
    """
    for option in options:
        name = option.split('.')[0]
        if name in keys:
            continue
        if name in helpers:
            raise UserError(
                f"--cfg-options {option}: '{name}' is a helper name of the file and no key; "
                'set the keys that are computed from it, or edit the file',
                key=option,
                value=options[option],
            )
        raise UserError(
            f"--cfg-options {option}: unknown key '{name}'{closest(name, keys)}",
            key=option,
            value=options[option],
        )
    for option, value in options.items():
        try:
            cfg.merge_from_dict({option: value})
        except (KeyError, TypeError, IndexError, AssertionError) as error:
            reason = str(error).partition(' of list')[0].strip('"')  # else the whole list follows
            raise UserError(f'--cfg-options {option}: {reason}', key=option, value=value) from None


def _read_over_defaults(path: Path) -> tuple[list[Path], Config]:
    """Return the bases of a config file, and its content merged over `DEFAULTS`."""
    cfg = read_config_file(path)
    try:
        bases = _base_files(path)
        return bases, merge_over_defaults(cfg, [path, *bases])
    except TypeError as error:  # a dict meets another kind of value
        raise _error_in_file(path, error) from None


def _helper_names(path: Path, bases: list[Path], cfg: Config) -> set[str]:
    """Return helper names of the file; raise UserError for a top-level name that nothing reads."""
    read: set[str] = set()
    for file in (path, *bases):
        if file.suffix != '.py':  # YAML and JSON have no helpers
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                read.add(node.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == '_base_':
                read.add(node.attr)
    unknown = set(cfg._cfg_dict) - TOP_KEYS
    # what `from base import *` of mmengine's new style brings along
    read |= {name for name in unknown if isinstance(cfg[name], (type, FunctionType, ModuleType))}
    for name in sorted(unknown - read):
        raise UserError(
            f"{path}: unknown key '{name}'{closest(name, TOP_KEYS)}", key=name, value=cfg[name]
        )
    return unknown


def _base_files(path: Path) -> list[Path]:
    """Return all files that a config is based on, bases of bases too."""
    found: list[Path] = []
    queue = [path]
    while queue:
        file = queue.pop()
        if file.suffix == '.py' and Config._is_lazy_import(str(file)):
            bases = _read_bases(file)
        else:
            names = Config._get_base_files(str(file))
            bases = [Path(Config._get_cfg_path(name, str(file))[0]) for name in names]
        bases = [base.resolve() for base in bases]  # '::' names a package
        found += bases
        queue += bases
    return found


def _read_bases(file: Path) -> list[Path]:
    """Return the files beside a config that its ``with read_base():`` imports."""
    imports = (
        line
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.With)
        for line in node.body
        if isinstance(line, ast.ImportFrom) and line.level and line.module
    )
    return [
        file.parents[line.level - 1] / f'{str(line.module).replace(".", "/")}.py'
        for line in imports
    ]


def _fill_derived(cfg: Config) -> None:
    """Copy each top-level value to the places that it decides."""
    root = cfg.get('data_root')
    for node in nested_dicts(cfg._cfg_dict):
        if 'pipeline' in node and 'type' in node and root is not None:
            node.setdefault('data_root', root)
    for mode in ('val', 'test'):
        if f'{mode}_cfg' in cfg and cfg[f'{mode}_cfg'] is None:  # turned off
            cfg[f'{mode}_dataloader'] = cfg[f'{mode}_evaluator'] = None
        elif cfg.get(f'{mode}_cfg') is not None and cfg.get(f'{mode}_evaluator') is None:
            cfg[f'{mode}_evaluator'] = []
    pretrained.copy_options(cfg)
    pretrained.expand_teacher(cfg)
    cfg.setdefault('work_dir', None)


def check_recipe(cfg: Config) -> None:
    """Check numbers that must fit together, such as warm-up and epochs, or views and losses.

    Raises UserError for a schedule longer than the training, and for what the method's own
    ``check_recipe`` finds; UserErrors for several.
    """
    model = cfg.get('model')
    if not isinstance(model, dict):
        raise UserError(
            f'{cfg.filename}: has no model; it is a base for other configs',
            key='model',
            value=model,
        )
    method: Any = registry.MODELS.get(model['type']) if model.get('type') else None
    found = ErrorCollector()
    for loop, others in NEEDED.items():
        for other in others if cfg.get(loop) else ():
            with found.collect():
                _check_given(cfg, other, loop)
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if cfg.get('train_cfg') and epochs is None:
        with found.collect():
            raise UserError(
                f'{cfg.filename}: train_cfg.max_epochs is missing; give the number of epochs',
                key='train_cfg.max_epochs',
            )
    if epochs is None or found.errors:
        found.raise_errors()
        return
    with found.collect():
        _check_sampler(cfg)
    schedules = list(_places_of_schedules(cfg))
    schedules += [
        (f'model.{k}', f'model.{k}', v)
        for k, v in model.items()
        if isinstance(v, dict) and 'start' in v
    ]
    for name, place, schedule in schedules:
        with found.collect():
            _check_rise(name, place, schedule, epochs)
    if hasattr(method, 'check_recipe'):  # a model of the user's own may have none
        dataset = cfg.train_dataloader.dataset
        pipeline = dataset.get('pipeline', [])
        multi: dict[str, Any] = next((t for t in pipeline if t.get('type') == 'MultiView'), {})
        if not multi and dataset.get('type') != 'ImageDataset':
            return  # a data set of the user's own, whose views are seen at the first step
        with found.collect():
            method.check_recipe(model, single_views(multi), multi.get('mask'))
    found.raise_errors()


def single_views(multi: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the views of MultiView settings, those with ``repeat`` several times."""
    return [view for view in multi.get('views', []) for _ in range(view.get('repeat', 1))]


def _check_given(cfg: Config, key: str, loop: str) -> None:
    """Check that a loop of the config has what it needs. Raises UserError when it has not."""
    if not cfg.get(key):
        raise UserError(
            f'{cfg.filename}: {key} is missing, which {loop} needs: give it, or {loop}=None',
            key=key,
            value=cfg.get(key),
        )


def _places_of_schedules(cfg: Config) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what each scheduler of a config is called, its config key, and the scheduler."""
    alone = isinstance(cfg.get('param_scheduler'), dict)
    for i, schedule in enumerate(schedulers(cfg)):
        place = 'param_scheduler' if alone else f'param_scheduler.{i}'
        yield f'param_scheduler of {schedule.get("param_name")}', place, schedule


def _check_rise(name: str, place: str, schedule: dict[str, Any], epochs: int) -> None:
    """Check that a schedule's warm-up fits in the epochs. Raises UserError when it is longer."""
    parts = {key: schedule.get(key, 0) for key in ('delay', 'warmup')}
    if not all(isinstance(value, (int, float)) for value in parts.values()):
        return
    rise = sum(parts.values())
    if rise > epochs:
        longest = 'warmup' if parts['warmup'] else 'delay'
        fitting = max(epochs - (rise - parts[longest]), 0)
        raise UserError(
            f'{name}: warm-up of {rise:g} epochs is longer than train_cfg.max_epochs={epochs}; '
            f'lower it by --cfg-options {place}.{longest}={fitting:g}',
            key=f'{place}.{longest}',
            value=parts[longest],
        )


def _check_sampler(cfg: Config) -> None:
    """Refuse a training order that is fixed and, unsaid, uneven over processes."""
    sampler = (cfg.get('train_dataloader') or {}).get('sampler') or {}
    fixed = sampler.get('type') == 'EpochSampler' and sampler.get('shuffle', True) is False
    if fixed and sampler.get('even') is None:
        raise UserError(
            'train_dataloader.sampler.shuffle=False turns `even` off too, and processes would '
            'get unequal shares; add train_dataloader.sampler.even=True',
            key='train_dataloader.sampler.shuffle',
            value=False,
        )


def schedulers(cfg: Config) -> list[dict[str, Any]]:
    """Return the schedulers of a config as a list."""
    found = cfg.get('param_scheduler') or []
    return [found] if isinstance(found, dict) else list(found)
