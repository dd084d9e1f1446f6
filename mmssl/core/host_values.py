"""Numbers of tensors on the host, for which it waits for the device."""

from itertools import islice

import torch
from torch import Tensor


def as_number(value: Tensor | float) -> float:
    """Return a number, or that of a tensor () with or without gradient."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def read_together(*tensors: Tensor) -> list[list[float]]:
    """Return the numbers of tensors (any shapes) of one device, a flat list each.

    The host waits for the device once, whatever their number.
    """
    numbers = iter(torch.cat([x.detach().flatten() for x in tensors]).tolist())
    return [list(islice(numbers, x.numel())) for x in tensors]
