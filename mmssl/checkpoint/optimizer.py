"""Optimizer state of official files, which is stored by position."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..core import UserError
from .dialects import Dialect, State

# names of one state entry in official optimizers -> ours
RENAMED = {'mu': 'momentum_buffer'}


def load_optimizer(
    optimizer: Optimizer, model: nn.Module, content: dict[str, Any], dialect: Dialect
) -> int:
    """Move the file's optimizer state onto our parameters by name; return how many got some.

    Raises UserError when the file's order does not cover its own state.
    """
    stored = content.get('optimizer')
    state = dialect.find(content)
    if stored is None or state is None or dialect.order is None:
        raise UserError(f'a {dialect.name} file without optimizer state')
    parameters = dict(model.named_parameters())
    target = list(model.state_dict())
    names = _order(dialect, state, parameters, target)
    counts = [len(group['params']) for group in stored['param_groups']]
    if sum(counts) != len(names):
        raise UserError(
            f'{dialect.name}: the file holds optimizer state of {sum(counts)} tensors, the model '
            f'has {len(names)}'
        )
    for position, entries in stored['state'].items():
        parameter = parameters[names[position]]
        optimizer.state[parameter] = {
            RENAMED.get(key, key): _like(value, parameter) for key, value in entries.items()
        }
    return len(stored['state'])


def _order(
    dialect: Dialect, state: State, parameters: dict[str, nn.Parameter], target: list[str]
) -> list[str]:
    """Return our names in the order of the file's positions.

    A layer stored under two names has one position. Two groups mean that the official code
    lists trained tensors only; one group lists all, the teacher's too.
    """
    assert dialect.order is not None
    groups = dialect.order(state)
    names: list[str] = []
    for group in groups:
        for foreign in group:
            name = dialect.name_of(foreign, target)
            if name is None or name not in parameters:
                raise UserError(
                    f'{dialect.name}: {foreign} has optimizer state, the model lacks it'
                )
            if name not in names and (len(groups) == 1 or parameters[name].requires_grad):
                names.append(name)
    return names


def _like(value: Any, parameter: nn.Parameter) -> Any:
    if not isinstance(value, torch.Tensor):  # old torch counts steps in whole numbers
        return torch.tensor(float(value)) if isinstance(value, int) else value
    if value.dim() == 0:
        return value.float()
    if value.shape != parameter.shape:
        raise UserError(f'optimizer state of shape {tuple(value.shape)} for {parameter.shape}')
    return value.to(parameter)
