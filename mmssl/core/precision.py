"""Types of numbers: that of weights and images, and float32 at least for objectives."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from .errors import UserError

DTYPES = {'float32': torch.float32, 'float64': torch.float64}
F = TypeVar('F', bound=Callable[..., Any])


def read_dtype(name: str | None, amp: str | None = None) -> torch.dtype:
    """Return the type that the config's ``dtype`` names, by default torch's own.

    Raises UserError for another name, and for float64 with mixed precision on a GPU.
    """
    if name is not None and name not in DTYPES:
        raise UserError(
            f"dtype='{name}' is unknown; use {' or '.join(DTYPES)}, and optim_wrapper.amp for "
            'half precision',
            key='dtype',
            value=name,
        )
    if name == 'float64' and amp and torch.cuda.is_available():
        raise UserError(
            f"dtype='float64' and optim_wrapper.amp='{amp}' do not go together; add --cfg-options "
            'optim_wrapper.amp=None',
            key='dtype',
            value=name,
        )
    return DTYPES[name] if name else torch.get_default_dtype()


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
