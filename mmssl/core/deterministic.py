"""Deterministic mode: what CUDA's products need before CUDA starts."""

import os

import torch

from .errors import UserError

VARIABLE = 'CUBLAS_WORKSPACE_CONFIG'
DETERMINISTIC = (':4096:8', ':16:8')  # the two that torch accepts


def set_blas_workspaces() -> None:
    """Give cuBLAS the workspaces with which its products repeat; it reads them when it starts.

    Raises UserError when CUDA has started without them, or others are set: torch would refuse
    the first product.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen in DETERMINISTIC:
        return
    if chosen:
        raise UserError(
            f'randomness.deterministic: {VARIABLE}={chosen} does not make products repeat; unset '
            f'it, or set {DETERMINISTIC[0]}',
            key=VARIABLE,
            value=chosen,
        )
    if torch.cuda.is_initialized():
        raise UserError(
            f'randomness.deterministic: CUDA has started without {VARIABLE}; set '
            f'{VARIABLE}={DETERMINISTIC[0]} in the environment of the program',
            key=VARIABLE,
            value=None,
        )
    os.environ[VARIABLE] = DETERMINISTIC[0]
