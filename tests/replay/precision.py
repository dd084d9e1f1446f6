"""Device and number format of a replay, and how far it may be from the recorded float64."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from mmssl.core import UserError


class Precision(NamedTuple):
    """A number format and its limits.

    ``tol`` bounds the largest relative error of every tensor, ``gradient_tol`` that of gradients
    and what follows from them; gradients below ``noise`` are rounding. With ``min_cosine`` only
    the loss is compared, and the gradient of all parameters as one direction.
    """

    dtype: torch.dtype
    tol: float
    gradient_tol: float
    noise: float = 1e-12
    min_cosine: float | None = None
    tf32: bool = False
    autocast: bool = False


PRECISIONS = {
    'float64': Precision(torch.float64, 1e-9, 1e-9),
    # a ReLU whose input is within rounding of zero passes its whole gradient or none
    'float32': Precision(torch.float32, 1e-3, 0.02, noise=1e-5),
    'tf32': Precision(torch.float32, 0.02, 0.02, min_cosine=0.99, tf32=True),
    # batch norms over four images magnify its rounding: loss 2.9 % and cosine 0.92 on a CPU
    'bfloat16': Precision(torch.float32, 0.05, 0.05, min_cosine=0.9, tf32=True, autocast=True),
}


def check_device(device: str) -> None:
    """Check that this machine has a device. Raises UserError where it has not."""
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: no GPU is visible', key='--device', value=device)


def check_double(dtype: str) -> None:
    """Check the format for what only steps take others of. Raises UserError but for float64."""
    if dtype != 'float64':
        raise UserError(
            f'--dtype {dtype}: only steps are replayed in it, probes and kNN in float64',
            key='--dtype',
            value=dtype,
        )


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let CUDA's products and convolutions of float32 use TF32, or not."""
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = allowed
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value
