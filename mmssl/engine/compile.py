"""The config's key ``compile``: networks by torch.compile."""

from typing import Any

import torch

from .clock import bare


def compile_networks(runner: Any, target: str = '') -> None:
    """Compile what each backbone computes, once for each size of images.

    mmengine would compile the whole step, in which queues, clock and hooks send torch back to
    Python. ``compile`` is True or holds options of torch.compile.
    """
    options = runner.cfg.get('compile')
    for module in bare(runner.model).modules() if options else ():
        if hasattr(module, 'stream'):
            chosen = {} if options is True else dict(options)
            module.encode = torch.compile(module.encode, **{'dynamic': False, **chosen})
