"""torch.compile of the backbones, by the config's key ``compile``."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..core import UserError
from ..core.io import unwrap_model
from ..core.protocols import LayeredNetwork

if TYPE_CHECKING:
    from .runner import Runner

WITH_CP = (
    'model.backbone.with_cp excludes it: torch compiles no block that replays random numbers and '
    'batch norms; leave one of the two out'
)


def compile_networks(model: nn.Module, options: Any) -> None:
    """Compile what each backbone computes in training, once for each size of images.

    ``options`` is True, holds options of torch.compile, or is empty: nothing is compiled. Raises
    UserError for a network that cannot be compiled whole: with ``with_cp``, or when its
    ``not_compilable`` says why.
    """
    if not options:
        return
    chosen: dict[str, Any] = (
        {'dynamic': False} if options is True else {'dynamic': False, **options}
    )
    networks: list[Any] = [m for m in model.modules() if isinstance(m, LayeredNetwork)]
    for network in networks:
        reason = WITH_CP if network.with_cp else network.not_compilable
        if reason:
            raise UserError(f'compile: {reason}', key='compile', value=reason)
        for name in ('encode', 'encode_together'):
            setattr(network, name, in_training(network, getattr(network, name), chosen))


def in_training(network: Any, call: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a network's ``call``, compiled while it trains.

    A monitor would have torch compile each size again for evaluation, without gradients, and
    reaches its limit of graphs: it runs the network as it is.
    """
    compiled = torch.compile(call, **options)

    @wraps(call)
    def chosen(*inputs: Any) -> Any:
        return compiled(*inputs) if network.training else call(*inputs)

    return chosen


def compile_runner(runner: 'Runner', target: str = '') -> None:
    """Compile the networks of a runner as its config says.

    mmengine would compile the whole step, in which queues, progress and hooks send torch back to
    Python.
    """
    compile_networks(unwrap_model(runner.model), runner.cfg.get('compile'))
