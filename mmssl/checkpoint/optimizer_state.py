"""Load the optimizer state of official files, which store it by position, not by name."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..core import UserError
from .layouts import Layout

# names of one state entry in official optimizers -> ours
RENAMED = {'mu': 'momentum_buffer'}


def load_optimizer(
    optimizer: Optimizer, model: nn.Module, content: dict[str, Any], layout: Layout
) -> int:
    """Move the file's optimizer state onto our parameters by name; return how many got some.

    Raises UserError as `stored_state` does.
    """
    found = stored_state(model, content, layout)
    fill_optimizer(optimizer, model, found)
    return len(found)


def fill_optimizer(
    optimizer: Optimizer, model: nn.Module, stored: dict[str, dict[str, Any]]
) -> None:
    """Put the state of parameters, by their names as `stored_state` returns it, into place."""
    parameters = dict(model.named_parameters())
    for name, entries in stored.items():
        optimizer.state[parameters[name]] = entries


def stored_state(
    model: nn.Module, content: dict[str, Any], layout: Layout
) -> dict[str, dict[str, Any]]:
    """Return the file's optimizer state by our names of the parameters.

    Each entry has the shape (*) of its parameter, or is a count of steps (). Raises UserError
    when the file has no optimizer state, or one of another form, when its order of parameters
    does not cover that state, or when the model's parameters are others.
    """
    stored = content.get('optimizer')
    state = layout.find(content)
    if stored is None or state is None or layout.order is None:
        raise UserError(
            f'optimizer: this {layout.name} file holds no optimizer state of a known order; give '
            'the training file, or start a new optimizer',
            key='optimizer',
            value=None,
        )
    _check_form(stored, layout)
    parameters = dict(model.named_parameters())
    names = _names_by_position(layout, layout.order(state), parameters, set(model.state_dict()))
    count = sum(len(group['params']) for group in stored['param_groups'])
    if count != len(names):
        raise UserError(
            f'optimizer: the {layout.name} file holds state of {count} tensors, the model has '
            f'{len(names)}; check that the config names the same network and heads',
            key='optimizer',
            value=count,
        )
    found = {}
    for position, entries in stored['state'].items():
        if not 0 <= position < count:
            raise UserError(
                f'optimizer: the {layout.name} file holds state at position {position} of {count}; '
                'take an earlier file',
                key='optimizer',
                value=position,
            )
        name = names[position]
        found[name] = {
            RENAMED.get(key, key): _fit_entry(name, key, value, parameters[name])
            for key, value in entries.items()
            if value is not None  # momentum of SGD before its first step
        }
    return found


def _check_form(stored: Any, layout: Layout) -> None:
    """Refuse what is no state of an optimizer: dicts by position, and groups of positions."""
    state = stored.get('state') if isinstance(stored, dict) else None
    groups = stored.get('param_groups') if isinstance(stored, dict) else None
    if not (
        isinstance(state, dict)
        and isinstance(groups, list)
        and all(type(at) is int and isinstance(entry, dict) for at, entry in state.items())
        and all(isinstance(g, dict) and isinstance(g.get('params'), list) for g in groups)
    ):
        raise UserError(
            f'optimizer: the {layout.name} file holds a {type(stored).__name__} that is no state '
            'of an optimizer of torch; take an earlier file',
            key='optimizer',
            value=type(stored).__name__,
        )


def _names_by_position(
    layout: Layout,
    groups: list[list[str]],
    parameters: dict[str, nn.Parameter],
    target: set[str],
) -> list[str]:
    """Return our names in the order of the file's positions.

    A layer stored under two names has one position. Two groups mean that the official code
    lists trained tensors only; one group lists all, the teacher's too.
    """
    only_trained = len(groups) > 1
    names: dict[str, None] = {}  # in order
    for foreign in (key for group in groups for key in group):
        name = layout.name_of(foreign, target)
        if name is None or name not in parameters:
            raise UserError(
                f'{foreign} has optimizer state in the {layout.name} file, but the model has no '
                'such tensor; check that the config names the same network and heads',
                key=foreign,
                value=None,
            )
        if name in names or (only_trained and not parameters[name].requires_grad):
            continue
        names[name] = None
    return list(names)


def _fit_entry(name: str, key: str, value: Any, parameter: nn.Parameter) -> Any:
    """Return one entry of the state with the dtype and device of its parameter, called ``name``.

    Counts of steps become float32 scalars (). Raises UserError for another shape, and for what
    is no finite real number.
    """
    if key == 'step':
        return _step(name, value)
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        given = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise UserError(
            f'{name}: optimizer state of shape {given} for {tuple(parameter.shape)}; '
            'check that the config names the same network',
            key=name,
            value=given,
        )
    if not value.is_floating_point() or not bool(value.isfinite().all()):
        kind = str(value.dtype).removeprefix('torch.')
        raise UserError(
            f'{name}: optimizer state {key} of {kind} is not of finite real numbers; take an '
            'earlier file',
            key=name,
            value=kind,
        )
    return value.to(parameter)


def _step(name: str, value: Any) -> torch.Tensor:
    """Return a count of steps, which old torch writes as a whole number, as float32 ()."""
    scalar = isinstance(value, torch.Tensor) and value.ndim == 0 and not value.is_complex()
    count = value.item() if scalar else value
    if type(count) not in (int, float) or not 0 <= count < 2**53:
        raise UserError(
            f'{name}: optimizer state with step={count!r:.40}, which is no count of steps; take an '
            'earlier file',
            key=name,
            value=count,
        )
    return torch.tensor(float(count))
