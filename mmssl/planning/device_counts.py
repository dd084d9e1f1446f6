"""What a piece of code asks of a GPU, counted on any machine: launches, waits, copies, bytes."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# they make no kernel run
VIEWS = frozenset(
    {
        *('view', '_unsafe_view', 't', 'transpose', 'permute', 'expand', 'slice', 'select'),
        *('split', 'split_with_sizes', 'chunk', 'unbind', 'detach', 'alias', 'unsqueeze'),
        *('squeeze', 'as_strided', 'reshape', '_reshape_alias', 'unfold', 'diagonal', 'lift_fresh'),
        *('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', 'resize_'),
        *('device', 'size', 'sym_size', 'stride', 'sym_stride', 'numel', 'is_contiguous'),
        *('storage_offset', 'is_same_size', 'set_'),
    }
)
# the host needs their result before it can go on
WAITS = frozenset(
    {
        *('_local_scalar_dense', 'item', 'nonzero', 'is_nonzero', 'equal', 'masked_select'),
        *('unique', '_unique2', 'unique_dim', 'unique_consecutive', 'bincount'),
        *('_linalg_eigh', 'linalg_eigvalsh', '_linalg_svd', 'linalg_svd'),
    }
)
TENSORS_A_LAUNCH = 100  # of a `_foreach_*` or `_fused_*` kernel: its arguments have a limit


class DeviceCounts(TorchDispatchMode):
    """Counts by operator (``launches``, ``bytes``) and by place in our files (``waits``, copies).

    A launch is a dispatched operator that is no view and no allocation; one over a list of tensors
    counts for each started 100 of them, or for each tensor where shapes differ, as then torch
    takes them one by one. Bytes are those of the tensors that it reads and writes. A wait is an
    operator whose result the host needs at once. ``blocking_copies`` change the device and hold the
    host up. Works on tensors with and without content.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.blocking_copies: Counter[str] = Counter()
        self._list_read: Any = None  # the frame of the `tolist` under way

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition('::')[2]
        result = func(*args, **kwargs)
        if name in WAITS:
            if self._goes_on():
                return result
            self.waits[_place()] += 1
        if name in VIEWS or _makes_table():
            return result
        moves = name == '_to_copy' and result.device != args[0].device
        if moves and not kwargs.get('non_blocking'):
            self.blocking_copies[_place()] += 1
        self.launches[name] += _launches(name, args)
        moved = (x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor))
        self.bytes[name] += sum(x.numel() * x.element_size() for x in moved)
        return result

    def _goes_on(self) -> bool:
        """Whether this is a further number of one `tolist`, which fake tensors read one by one."""
        before = self._list_read
        self._list_read = next((f for f in _frames() if f.f_code.co_name == 'tolist'), None)
        return self._list_read is not None and self._list_read is before


def _frames() -> Iterator[Any]:
    """Yield the frames of the stack, the innermost first."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _makes_table() -> bool:
    """Whether a constant table is being made, which is made once (`table_cache`)."""
    return any(f.f_code.co_filename.endswith('mmssl/core/table_cache.py') for f in _frames())


def _launches(name: str, args: tuple[Any, ...]) -> int:
    """Return how many kernels an operator starts."""
    lists = [x for x in args if isinstance(x, (list, tuple)) and x and isinstance(x[0], Tensor)]
    if not name.startswith(('_foreach', '_fused')) or not lists:
        return 1
    first, *others = lists
    pairs = [(x, y) for other in others for x, y in zip(first, other, strict=False)]
    if name.startswith('_foreach') and any(x.shape != y.shape for x, y in pairs):
        return len(first)
    return -(-len(first) // TENSORS_A_LAUNCH)


def _place() -> str:
    """Return file and function of the innermost frame of ours, 'elsewhere' outside."""
    for frame in _frames():
        _, ours, file = frame.f_code.co_filename.rpartition('/mmssl/')
        if ours and not file.startswith('planning/'):
            return f'{file} {frame.f_code.co_name}'
    return 'elsewhere'
