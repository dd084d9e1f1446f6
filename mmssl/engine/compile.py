"""The config's key ``compile``: networks by torch.compile."""

from typing import Any

import torch
from torch import nn

from ..core import UserError
from .clock import bare

WITH_CP = (
    'model.backbone.with_cp excludes it: torch compiles no block that replays random numbers and '
    'batch norms; leave one out, or save memory by model.size_by_size where the method has it'
)


def compile_networks(model: nn.Module, options: Any) -> None:
    """Compile what each backbone computes, once for each size of images.

    ``options`` is True, holds options of torch.compile, or is empty: nothing is compiled. Raises
    UserError for a network that cannot be compiled whole: with ``with_cp``, or when its
    ``uncompiled`` says why.
    """
    networks: list[Any] = list(model.modules()) if options else []
    for module in networks:
        if hasattr(module, 'stream'):
            reason = WITH_CP if module.with_cp else getattr(module, 'uncompiled', '')
            if reason:
                raise UserError(f'compile: {reason}')
            chosen = {} if options is True else dict(options)
            module.encode = torch.compile(module.encode, **{'dynamic': False, **chosen})


def compile_runner(runner: Any, target: str = '') -> None:
    """Compile the networks of a runner as its config says.

    mmengine would compile the whole step, in which queues, clock and hooks send torch back to
    Python.
    """
    compile_networks(bare(runner.model), runner.cfg.get('compile'))
