"""Operations on tensors that a row of a layout may name, each with its inverse."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Op(NamedTuple):
    """Two functions, of a foreign tensor (*) into ours and back; the shape stays."""

    to_ours: Callable[[Tensor], Tensor]
    to_foreign: Callable[[Tensor], Tensor]


def _from_unfold(x: Tensor) -> Tensor:
    """(..., 4 C) by channel, then (row, column) offset -> by offset as timm lists them, channel."""
    x = x.unflatten(-1, (x.shape[-1] // 4, 4))[..., [0, 2, 1, 3]]  # (..., C, 4)
    return x.transpose(-1, -2).flatten(-2)


def _to_unfold(x: Tensor) -> Tensor:
    """Undo `_from_unfold`: the order of torch's unfold, which mmdet and mmseg merge patches by."""
    x = x.unflatten(-1, (4, x.shape[-1] // 4))[..., [0, 2, 1, 3], :]  # (..., 4, C)
    return x.transpose(-1, -2).flatten(-2)


OPS = {
    '': Op(lambda x: x, lambda x: x),
    # the last dimension of a patch merging: its norm (4 C) and its reduction (out, 4 C)
    'merging': Op(_from_unfold, _to_unfold),
}
