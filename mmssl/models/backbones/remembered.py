"""Tables of windows, made once."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor


def remembered(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last tensors that a function made, but none of those a tracer made of nothing.

    torch.export runs the network with tensors that hold no numbers; remembered, they would
    break every later call.
    """
    kept = lru_cache(maxsize=64)(make)

    @wraps(make)
    def call(*key: object) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*key)
        with torch.device('cpu'):  # whatever device the caller builds on
            return kept(*key)

    return call
