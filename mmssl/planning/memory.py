"""Count the bytes that tensors hold while code runs, on any device."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Memory(TorchDispatchMode):
    """Count the storages that operations inside the ``with`` block make, until they are freed.

    ``now`` and ``peak`` are bytes above what was there before. Backward passes are seen as well;
    scratch space inside one operation is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, weakref.finalize[..., Any]] = {}

    def __enter__(self) -> 'Memory':
        super().__enter__()
        return self

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        for value in tree_leaves((args, kwargs or {})):
            self._see(value, new=False)
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            self._see(value, new=True)
        return out

    def _see(self, value: Any, new: bool) -> None:
        """Note a storage; one that comes in as an argument first was there before."""
        if not isinstance(value, torch.Tensor):
            return
        storage = value.untyped_storage()
        key = storage._cdata
        if key not in self.known:
            size = storage.nbytes() if new else 0
            self.now += size
            self.peak = max(self.peak, self.now)
            self.known[key] = weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.now -= size
        del self.known[key]
