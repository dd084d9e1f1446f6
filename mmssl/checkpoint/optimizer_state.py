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

    Each entry has the shape (*) of its parameter, or is a count of steps (). Raises UserError
    when the file has no optimizer state, when its order of parameters does not cover that state,
    or when the model's parameters are others.
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
    for position, entries in stored['state'].items():
        name = names[position]
        optimizer.state[parameters[name]] = {
            RENAMED.get(key, key): _fit_entry(name, value, parameters[name])
            for key, value in entries.items()
        }
    return len(stored['state'])


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
    names: list[str] = []
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
        names.append(name)
    return names


def _fit_entry(name: str, value: Any, parameter: nn.Parameter) -> Any:
    """Return one entry of the state with the dtype and device of its parameter, called ``name``.

    Counters of steps become float32 scalars (). Raises UserError for another shape.
    """
    if not isinstance(value, torch.Tensor):  # old torch counts steps in whole numbers
        return torch.tensor(float(value)) if isinstance(value, int) else value
    if value.dim() == 0:
        return value.float()
    if value.shape != parameter.shape:
        raise UserError(
            f'{name}: optimizer state of shape {tuple(value.shape)} for {tuple(parameter.shape)}; '
            'check that the config names the same network',
            key=name,
            value=tuple(value.shape),
        )
    return value.to(parameter)
