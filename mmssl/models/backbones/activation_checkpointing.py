"""Activation checkpointing with the same random numbers and batch-norm statistics."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(owner: nn.Module, call: Callable[..., Any], *inputs: Any) -> Any:
    """Return ``call(*inputs)``, keeping no activations: the backward computes it again.

    torch replays its own random numbers; Python's (the neighbours ViL draws) and the batch norms
    of ``owner``, which must not move twice, are replayed here.
    """

    def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        return nullcontext(), _second_time(owner, random.getstate())

    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _second_time(owner: nn.Module, draws: Any) -> Iterator[None]:
    norms = [m for m in owner.modules() if isinstance(m, _BatchNorm)]
    kept = [(b, b.clone()) for norm in norms for b in norm.buffers()]
    present = random.getstate()
    random.setstate(draws)
    try:
        yield
    finally:
        random.setstate(present)
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
