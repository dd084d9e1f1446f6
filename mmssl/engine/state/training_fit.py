"""Check that a training file fits the run that is to be resumed, before any of it is loaded."""

import copy
import logging
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.optim import Optimizer

from ...checkpoint.matching import value_difference
from ...core import UserError, dist
from ...core.errors import ErrorCollector
from ...core.io import flatten, to_plain, unwrap_model
from ..optim.scheduler import ScheduleParam
from .training_schema import described

if TYPE_CHECKING:
    from ..runner import Runner

AVERAGED = 'module.'  # what mmengine's averages of weights put before each name


class Difference(NamedTuple):
    """An entry of a file that does not fit: its name there, the value at fault, the reason."""

    key: str
    value: Any
    reason: str


def check_fit(runner: 'Runner', content: dict[str, Any], path: str) -> None:
    """Compare a file whose kinds are checked with the run: every shape, type and number.

    Raises UserError, or UserErrors for all that differs, and changes nothing of the run.
    """
    _check_types(runner, content['meta']['settings'], path)
    errors = ErrorCollector()
    with errors.collect():
        _check_data(runner, content['progress'], path)
    model, optimizer = unwrap_model(runner.model), runner.optim_wrapper.optimizer
    own = model.state_dict()
    averages = {
        key.removeprefix(AVERAGED): value
        for key, value in content.get('ema_state_dict', {}).items()
        if key.startswith(AVERAGED)
    }
    stored = content['optimizer']['optimizer']
    for found in (
        _weight_differences(content['state_dict'], own, 'state_dict'),
        _weight_differences(averages, own, 'ema_state_dict') if averages else (),
        optimizer_differences(stored, optimizer, model),
        _scheduler_differences(content['schedulers'], runner.param_schedulers or []),
        _random_differences(content['random'], content['progress']['processes']),
    ):
        with errors.collect():
            refuse(found, path)
    errors.raise_errors()


def refuse(found: Iterable[Difference], path: str) -> None:
    """Raise UserError about the first difference, with the number of those behind it."""
    differences = list(found)
    if not differences:
        return
    first, *others = differences
    more = f', and {len(others)} entries more differ' if others else ''
    raise UserError(
        f'{path}: does not fit this run: {first.key}: {first.reason}{more}; resume with the '
        'network and optimizer of its run, or take an earlier file',
        key=first.key,
        value=first.value,
    )


# settings -----------------------------------------------------------------------------------------
def _check_types(runner: 'Runner', before: dict[str, Any], path: str) -> None:
    """Refuse another method, and another optimizer, whose state the file does not hold."""
    then, now = flatten(before), flatten(to_plain(runner.cfg.to_dict()))
    kind = 'model.type'
    if kind in then and then[kind] != now.get(kind):
        raise UserError(
            f'{path}: is of a run of {described(then[kind])}, and this config trains '
            f'{now.get(kind)}; to start from its weights use --cfg-options load_from={path}',
            key=kind,
            value=now.get(kind),
        )
    kind = 'optim_wrapper.optimizer.type'
    if kind in then and then[kind] != now.get(kind):
        raise UserError(
            f'{kind}={now.get(kind)}: the file was written with {described(then[kind])}, whose '
            'state does not fit; resume with the same, or start from the weights with '
            '--cfg-options load_from=FILE',
            key=kind,
            value=now.get(kind),
        )


def _check_data(runner: 'Runner', progress: dict[str, Any], path: str) -> None:
    """Refuse a batch or a data set of another size, for which iterations mean something else."""
    batch = runner.train_dataloader.batch_size * dist.world_size()
    if progress['batch'] != batch:
        raise UserError(
            f'resuming with batch {batch}, but the file was written with {progress["batch"]} on '
            'all processes; keep their product the same',
            key='batch',
            value=batch,
        )
    length = len(runner.train_dataloader)
    if progress['per_epoch'] != length:
        raise UserError(
            f'resuming with {length} iterations per epoch, but the file was '
            f'written with {progress["per_epoch"]}: the data set has changed; resume with the '
            'same images, or start from the weights with --cfg-options load_from=FILE',
            key='iterations per epoch',
            value=length,
        )
    done = progress['iter']
    if done > runner.max_epochs * length:
        raise UserError(
            f'{path}: progress.iter={done}, and training ends at '
            f'train_cfg.max_epochs={runner.max_epochs}, {runner.max_epochs * length} iterations; '
            'raise it, or take an earlier file',
            key='progress.iter',
            value=done,
        )


# tensors ------------------------------------------------------------------------------------------
def _weight_differences(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str
) -> Iterator[Difference]:
    """Compare a file's weights and buffers (any shapes) with the model's, by name."""
    for key, wanted in own.items():
        if key not in given:
            yield Difference(f'{name}.{key}', None, 'is missing')
        elif reason := tensor_difference(given[key], wanted):
            yield Difference(f'{name}.{key}', tuple(given[key].shape), reason)
    for key, value in given.items():
        if key not in own:
            yield Difference(f'{name}.{key}', tuple(value.shape), 'the model has no such tensor')


def tensor_difference(given: Tensor, wanted: Tensor) -> str:
    """Return why a tensor (*) of a file may not take the place of ``wanted``, '' when it may.

    Shape and type must be equal, and all numbers finite.
    """
    reason = value_difference(given, wanted)
    if not reason and given.dtype != wanted.dtype:
        reason = f'{given.dtype} for {wanted.dtype}'.replace('torch.', '')
    return reason


# optimizer ----------------------------------------------------------------------------------------
def optimizer_differences(
    stored: dict[str, Any], optimizer: Optimizer, model: nn.Module
) -> Iterator[Difference]:
    """Compare stored optimizer state with what this optimizer keeps of each parameter.

    What it keeps is seen from a step of a copy of it on zeros. Torch compares no shapes: its
    kernels would read and write beyond the memory of smaller tensors.
    """
    groups = optimizer.param_groups
    sizes = [len(group['params']) for group in groups]
    given = [len(group['params']) for group in stored['param_groups']]
    positions = [i for group in stored['param_groups'] for i in group['params']]
    if given != sizes or positions != list(range(sum(sizes))):
        reason = f'groups of {given} parameters for {sizes}'
        yield Difference('optimizer.param_groups', given, reason)
        return
    names = {parameter: name for name, parameter in model.named_parameters()}
    places = [parameter for group in groups for parameter in group['params']]
    by_name = {}
    at = {}
    for i, entries in stored['state'].items():
        if 0 <= i < len(places):
            name = names[places[i]]
            by_name[name], at[name] = entries, i
        else:
            yield Difference(f'optimizer.state.{i}', i, f'there are {len(places)} parameters')
    for key, value, reason in state_differences(by_name, optimizer, model):
        name, _, entry = key.rpartition('.')
        yield Difference(f'optimizer.state.{at[name]}.{entry}', value, f'{reason} (of {name})')


def state_differences(
    stored: dict[str, dict[str, Any]], optimizer: Optimizer, model: nn.Module
) -> Iterator[Difference]:
    """Compare optimizer state by names of parameters with what this optimizer keeps of each."""
    parameters = dict(model.named_parameters())
    groups = {
        parameter: at
        for at, group in enumerate(optimizer.param_groups)
        for parameter in group['params']
    }
    kept: dict[Any, dict[str, Any] | None] = {}
    for name, entries in stored.items():
        parameter = parameters[name]
        if not entries or parameter not in groups:  # not trained
            continue
        at = groups[parameter]
        sort = (at, tuple(parameter.shape), parameter.dtype)
        if sort not in kept:
            kept[sort] = state_of_one_step(optimizer, optimizer.param_groups[at], parameter)
        for key, value, reason in _entry_differences(entries, kept[sort], parameter):
            yield Difference(f'{name}.{key}', value, reason)


def state_of_one_step(
    optimizer: Optimizer, group: dict[str, Any], parameter: Tensor
) -> dict[str, Any] | None:
    """Return what an optimizer keeps of a parameter (*) after a step; itself stays as it is.

    None for optimizers that do not step on their own, such as those that need a closure.
    """
    zeros = torch.zeros(parameter.shape, dtype=parameter.dtype, device=parameter.device)
    trial = nn.Parameter(zeros)
    trial.grad = torch.zeros_like(zeros)
    try:
        stepped = copy.copy(optimizer)
        stepped.param_groups = [{**group, 'params': [trial]}]
        stepped.state = defaultdict(dict)
        with torch.random.fork_rng(devices=[]):
            stepped.step()
        return dict(stepped.state[trial])
    except Exception as error:  # whatever an optimizer of another library raises
        name = type(optimizer).__name__
        reason = f'the shapes of its state are not compared ({type(error).__name__}: {error})'
        print_log(f'{name}: {reason}', logger='current', level=logging.WARNING)
        return None


def _entry_differences(
    entries: dict[str, Any], kept: dict[str, Any] | None, parameter: Tensor
) -> Iterator[Difference]:
    """Compare the entries of one parameter (*) with those that its optimizer keeps."""
    for key, value in entries.items():
        wanted = (kept or {}).get(key)
        if isinstance(value, Tensor) and value.is_complex():
            yield Difference(key, tuple(value.shape), f'{described(value)}, not of real numbers')
        elif isinstance(value, Tensor) and not bool(value.isfinite().all()):
            yield Difference(key, tuple(value.shape), 'has numbers that are not finite')
        elif kept is None:
            continue
        elif _is_scalar(wanted):  # a count of steps, in a type of its own
            if not _is_scalar(value) or not 0 <= float(value) < math.inf:
                yield Difference(key, _told(value), f'{described(value)} for a count')
        elif not isinstance(value, Tensor):
            yield Difference(key, value, f'{described(value)} for a tensor')
        elif reason := tensor_difference(value, parameter if wanted is None else wanted):
            yield Difference(key, tuple(value.shape), reason)
    for key in kept or {}:
        if key not in entries:
            yield Difference(key, None, 'is missing')


def _is_scalar(value: Any) -> bool:
    """Whether a value is one number, as optimizers count steps."""
    if isinstance(value, Tensor):
        return value.ndim == 0 and value.dtype != torch.bool
    return type(value) in (int, float)


def _told(value: Any) -> Any:
    """Return a wrong value for an error: the shape of a tensor, else itself."""
    if isinstance(value, Tensor) and value.ndim:
        return tuple(value.shape)
    return value.item() if isinstance(value, Tensor) else value


# schedulers and random numbers --------------------------------------------------------------------
def _scheduler_differences(given: list[dict[str, Any]], own: list[Any]) -> Iterator[Difference]:
    """Compare the state of schedulers: their number, and kind by kind what others restore."""
    if len(given) != len(own):
        reason = f'the file has {len(given)}, the config {len(own)}'
        yield Difference('schedulers', len(given), reason)
        return
    for i, (state, scheduler) in enumerate(zip(given, own, strict=True)):
        if isinstance(scheduler, ScheduleParam):  # sought by the config
            continue
        wanted = to_plain(scheduler.state_dict())
        for key, value in state.items():
            name = f'schedulers.{i}.{key}'
            if key not in wanted:
                yield Difference(name, value, 'the scheduler has no such entry')
            elif not _alike(value, wanted[key]):
                yield Difference(
                    name, value, f'{described(value)} in place of {described(wanted[key])}'
                )


def _alike(value: Any, wanted: Any) -> bool:
    """Whether two plain values are of one kind; an unset one may be any."""
    numbers = (int, float)
    if type(value) in numbers and type(wanted) in numbers:
        return math.isfinite(value) and (value >= 0 or wanted < 0)
    return value is None or wanted is None or type(value) is type(wanted)


def _random_differences(states: dict[str, Any], processes: int) -> Iterator[Difference]:
    """Try the state of every process's generators on ones that nobody uses."""
    for name, stored in states.items():
        if isinstance(stored, Tensor) and len(stored) != processes:
            reason = f'states of {len(stored)} processes in a file of {processes}'
            yield Difference(f'random.{name}', len(stored), reason)
            return
    for rank in range(processes):
        for name, trial in (('torch', _try_torch), ('numpy', _try_numpy), ('python', _try_python)):
            try:
                trial(states, rank)
            except (LookupError, TypeError, ValueError, RuntimeError) as error:
                reason = f'no state of a generator, of process {rank} ({error})'
                yield Difference(f'random.{name}', rank, reason)
    if torch.cuda.is_available() and 'cuda' in states:
        length = len(torch.cuda.get_rng_state())
        if states['cuda'].shape[1] != length:
            reason = f'{described(states["cuda"])}, not of {length} bytes'
            yield Difference('random.cuda', tuple(states['cuda'].shape), reason)


def _try_torch(states: dict[str, Any], rank: int) -> None:
    torch.Generator().set_state(states['torch'][rank].clone())


def _try_numpy(states: dict[str, Any], rank: int) -> None:
    keys = states['numpy'][rank].numpy().astype(np.uint32)
    np.random.RandomState().set_state(('MT19937', keys, *states['numpy_rest']))


def _try_python(states: dict[str, Any], rank: int) -> None:
    random.Random().setstate((3, tuple(states['python'][rank].tolist()), None))
