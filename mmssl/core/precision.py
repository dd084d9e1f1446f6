"""Objectives run in at least float32, whatever the networks run in."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

F = TypeVar('F', bound=Callable[..., Any])


def _up(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    if isinstance(value, (list, tuple)) and not hasattr(value, '_fields'):
        return type(value)(_up(item) for item in value)
    return value


def full_precision(objective: F) -> F:
    """Run ``objective`` outside autocast on tensors of float32 or more (float64 stays)."""

    @wraps(objective)
    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast('cuda', enabled=False), torch.autocast('cpu', enabled=False):
            return objective(*map(_up, args), **{k: _up(v) for k, v in kwargs.items()})

    return run  # type: ignore[return-value]
