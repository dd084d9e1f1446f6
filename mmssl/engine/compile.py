"""The config's key ``compile``: networks by torch.compile."""

from typing import Any

import torch
from torch import nn


def compile_networks(model: nn.Module, options: Any) -> None:
    """Compile what each backbone computes, once for each size of images.

    mmengine would compile the whole step, in which queues, clock and hooks send torch back to
    Python. ``options`` is True, holds options of torch.compile, or is empty: nothing is compiled.
    Raises UserError for a network that cannot be compiled whole.
    """
    networks: list[Any] = list(model.modules()) if options else []
    for module in networks:
        if hasattr(module, 'refuse_compiling'):
            module.refuse_compiling()
            chosen = {} if options is True else dict(options)
            module.encode = torch.compile(module.encode, **{'dynamic': False, **chosen})
