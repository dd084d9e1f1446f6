"""Cache of constant tables (window masks, offsets, resizing matrices), made once per device."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor
from torch._guards import detect_fake_mode


def remembered(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cache the last 64 tensors that a function made, of any shape (...), on each ``device``.

    Not while tracing: torch.export and plans run the network with tensors that hold no numbers,
    which would break every later call.
    """

    @lru_cache(maxsize=64)
    def kept(device: torch.device | str, *key: object) -> Tensor:
        # whatever the caller's default device is, and whether or not it needs gradients
        with torch.device('cpu'), torch.inference_mode(False):
            return make(*key).to(device)

    @wraps(make)
    def call(*key: object, device: torch.device | str = 'cpu') -> Tensor:
        if torch.compiler.is_compiling() or detect_fake_mode():
            return make(*key).to(device)
        return kept(device, *key)

    return call
