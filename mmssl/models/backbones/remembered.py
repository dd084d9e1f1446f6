"""Tables of windows, made once."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor
from torch._guards import detect_fake_mode


def remembered(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last tensors that a function made, but none of those a tracer made of nothing.

    torch.export and plans run the network with tensors that hold no numbers; remembered, they
    would break every later call.
    """
    kept = lru_cache(maxsize=64)(make)

    @wraps(make)
    def call(*key: object) -> Tensor:
        if torch.compiler.is_compiling() or detect_fake_mode():
            return make(*key)
        with torch.device('cpu'):  # whatever device the caller builds on
            return kept(*key)

    return call
