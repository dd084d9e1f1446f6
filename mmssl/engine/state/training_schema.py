"""Schema of training files, format 2: the kind and range of every entry, checked before use."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core import UserError
from ...core.errors import ErrorCollector

LARGEST = 2**53  # of counts: what floats hold exactly
SHOWN = 60  # characters of a wrong value in a message


class Kind(NamedTuple):
    """What an entry may be: in words, and as a check."""

    words: str
    fits: Callable[[Any], bool]


def whole(smallest: int, largest: int = LARGEST) -> Kind:
    """Return the kind of whole numbers of a range; truth values are none."""
    return Kind(
        f'a whole number from {smallest} to {largest}',
        lambda value: type(value) is int and smallest <= value <= largest,
    )


def number(smallest: float, largest: float = math.inf) -> Kind:
    """Return the kind of finite numbers of a range."""
    return Kind(
        f'a finite number from {smallest:g} to {largest:g}',
        lambda value: (
            type(value) in (int, float) and math.isfinite(value) and smallest <= value <= largest
        ),
    )


def optional(kind: Kind) -> Kind:
    """Return the kind that is None or another one."""
    return Kind(f'{kind.words}, or None', lambda value: value is None or kind.fits(value))


def listed(kind: Kind) -> Kind:
    """Return the kind of lists whose items are of another one."""
    return Kind(
        f'a list, each item {kind.words}',
        lambda value: isinstance(value, (list, tuple)) and all(map(kind.fits, value)),
    )


def rows(dtype: torch.dtype, length: int | None = None, largest: int | None = None) -> Kind:
    """Return the kind of tensors (processes, ``length``) of numbers from 0 to ``largest``."""

    def fits(value: Any) -> bool:
        if not isinstance(value, Tensor) or value.dtype != dtype or value.ndim != 2:
            return False
        if not value.numel() or length not in (None, value.shape[1]):
            return False
        return largest is None or 0 <= int(value.min()) <= int(value.max()) <= largest

    size = 'processes' if length is None else f'processes, {length}'
    return Kind(f'a tensor ({size}) of {str(dtype).removeprefix("torch.")}', fits)


def _dict_of(key: type, value: type) -> Callable[[Any], bool]:
    def fits(entry: Any) -> bool:
        return isinstance(entry, dict) and all(
            type(k) is key and isinstance(v, value) for k, v in entry.items()
        )

    return fits


DICT = Kind('a dict', lambda value: isinstance(value, dict))
TEXT = Kind('a text', lambda value: isinstance(value, str))
TENSORS = Kind('a dict of tensors by name', _dict_of(str, Tensor))
ENTRIES = Kind('a dict of dicts by position', _dict_of(int, dict))
WORD = 2**32 - 1

# the entries that are read, by names with dots
SCHEMA: dict[str, Kind] = {
    'meta': DICT,
    'meta.run': DICT,
    'meta.run.id': TEXT,
    'meta.run.started': number(0),
    'meta.settings': DICT,
    'state_dict': TENSORS,
    'optimizer': DICT,
    'optimizer.optimizer': DICT,
    'optimizer.optimizer.state': ENTRIES,
    'optimizer.optimizer.param_groups': listed(DICT),
    'optimizer.scaler': DICT,
    'progress': DICT,
    'progress.iter': whole(0),
    'progress.per_epoch': whole(1),
    'progress.batch': whole(1),
    'progress.batch_size': whole(1),
    'progress.processes': whole(1),
    'progress.best': optional(
        Kind('a number', lambda value: type(value) in (int, float))  # of any metric
    ),
    'schedulers': listed(DICT),
    'random': DICT,
    'random.torch': rows(torch.uint8),
    'random.numpy': rows(torch.int64, 624, WORD),
    'random.numpy_rest': Kind(
        'a list of a position up to 624, 0 or 1, and a number',
        lambda value: (
            isinstance(value, (list, tuple))
            and len(value) == 3
            and whole(0, 624).fits(value[0])
            and whole(0, 1).fits(value[1])
            and number(-math.inf).fits(value[2])
        ),
    ),
    'random.python': rows(torch.int64, 625, WORD),
}
# the entries that tell a file's run and how far it is
RUN = ('meta', 'meta.run', 'meta.run.id', 'meta.run.started', 'progress', 'progress.iter')
# entries that some files have: of runs on GPUs, of mmengine's averages of weights, of streams
MAY_LACK: dict[str, Kind] = {
    'random.cuda': rows(torch.uint8),
    'ema_state_dict': TENSORS,
    'streams': listed(TEXT),
}
# each group of the optimizer; its other settings are the config's
GROUP: dict[str, Kind] = {'params': listed(whole(0)), 'lr': number(0)}
GROUP_MAY_LACK: dict[str, Kind] = {'initial_lr': number(0)}
# state of torch's GradScaler
SCALER: dict[str, Kind] = {
    'scale': Kind('a finite number above 0', lambda value: number(0).fits(value) and value > 0),
    'growth_factor': number(1),
    'backoff_factor': number(0, 1),
    'growth_interval': whole(1),
    '_growth_tracker': whole(0),
}


class _Missing:
    """Stands for an entry that is not there."""


def check_run(content: Mapping[str, Any], path: str) -> None:
    """Check the entries that tell a file's run and how far it is. Raises as `check_schema` does."""
    errors = ErrorCollector()
    errors.errors += _errors_of_schema(content, {k: v for k, v in SCHEMA.items() if k in RUN}, path)
    errors.raise_errors()


def check_schema(content: Mapping[str, Any], path: str) -> None:
    """Check the kind and range of every entry of a training file that is read.

    Tensors are looked at for kind and shape; whether they fit a run is `training_fit`'s. Raises
    UserError, or UserErrors for all wrong entries at once, each with its name in the file.
    """
    errors = ErrorCollector()
    errors.errors += _errors_of_schema(content, SCHEMA | MAY_LACK, path)
    groups = _entry(content, 'optimizer.optimizer.param_groups')
    for i, group in enumerate(groups if isinstance(groups, (list, tuple)) else ()):
        if isinstance(group, dict):
            name = f'optimizer.optimizer.param_groups.{i}'
            errors.errors += _errors_of(group, GROUP, name, path)
            there = {key: kind for key, kind in GROUP_MAY_LACK.items() if key in group}
            errors.errors += _errors_of(group, there, name, path)
    scaler = _entry(content, 'optimizer.scaler')
    if isinstance(scaler, dict) and scaler:  # empty without mixed precision
        errors.errors += _errors_of(scaler, SCALER, 'optimizer.scaler', path)
    errors.raise_errors()


def check_scaler(state: Any, path: str) -> None:
    """Check the state of a loss scaler, of any program. Raises UserError(s) for wrong entries."""
    errors = ErrorCollector()
    with errors.collect():
        _check('scaler', state, DICT, path)
        errors.errors += _errors_of(state, SCALER, 'scaler', path)
    errors.raise_errors()


def _entry(content: Any, key: str) -> Any:
    """Return an entry by its name with dots; the content itself for an empty one."""
    for part in key.split('.') if key else ():
        if not isinstance(content, Mapping) or part not in content:
            return _Missing
        content = content[part]
    return content


def _errors_of_schema(
    content: Mapping[str, Any], schema: Mapping[str, Kind], path: str
) -> Iterator[UserError]:
    for key, kind in schema.items():
        value = _entry(content, key)
        above = _entry(content, key.rpartition('.')[0])
        if value is _Missing and (key in MAY_LACK or not isinstance(above, Mapping)):
            continue  # what should hold it is told of
        try:
            _check(key, value, kind, path)
        except UserError as error:
            yield error


def _errors_of(
    entry: Mapping[str, Any], kinds: Mapping[str, Kind], name: str, path: str
) -> Iterator[UserError]:
    for key, kind in kinds.items():
        try:
            _check(f'{name}.{key}', entry.get(key, _Missing), kind, path)
        except UserError as error:
            yield error


def _check(key: str, value: Any, kind: Kind, path: str) -> None:
    if value is not _Missing and kind.fits(value):
        return
    what = f'{key}={described(value)}'
    if value is _Missing:
        what = f'{key} is missing'
        value = None
    raise UserError(
        f'{path}: {what}: a training file has {kind.words} there; take an earlier file',
        key=key,
        value=value,
    )


def described(value: Any) -> str:
    """Return a value of a file for a message: escaped, and short."""
    if isinstance(value, Tensor):
        return f'a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix("torch.")}'
    if isinstance(value, (dict, list, tuple, set)):
        return f'a {type(value).__name__} of {len(value)}'
    text = repr(value)
    return text if len(text) <= SHOWN else f'{text[:SHOWN]}...'
