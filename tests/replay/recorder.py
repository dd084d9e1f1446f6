"""Reads inner tensors of a step from the functions and modules that training uses."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch import nn


def kept(value: Any) -> Any:
    """Detach whatever a call returned and copy it to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to('cpu', copy=True)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(kept, value))
    if isinstance(value, dict):
        return {key: kept(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [kept(v) for v in value]
    return value


class Recorder:
    """Collects, by name, what logged_embeddings calls returned, in the order of the calls."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Any]] = defaultdict(list)
        self.inputs: dict[str, list[Any]] = defaultdict(list)
        self.stack = ExitStack()

    def module(self, module: nn.Module, name: str) -> None:
        """Watch a module's forward; what is called with ``flag=True`` goes to 'name.flag'."""

        def hook(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            full_name = '.'.join([name, *(flag for flag, on in kwargs.items() if on is True)])
            self.inputs[full_name].append(kept(list(args)))
            self.calls[full_name].append(kept(output))

        self.stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)

    def function(self, owner: Any, attribute: str, name: str) -> None:
        """Watch a function of a module (a file) or a method of an object."""
        original: Callable[..., Any] = getattr(owner, attribute)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.inputs[name].append(kept(list(args)))
            result = original(*args, **kwargs)
            self.calls[name].append(kept(result))
            return result

        self.stack.enter_context(mock.patch.object(owner, attribute, wrapped))

    def close(self) -> None:
        """Stop watching."""
        self.stack.close()
