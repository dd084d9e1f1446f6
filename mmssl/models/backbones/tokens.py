"""What backbones say of images: token grids inside, features outside."""

from typing import NamedTuple

from torch import Tensor


class Tokens(NamedTuple):
    """Output of one block: cls (B, g, C), the class token first, or None; grid (B, h, w, C).

    ``final`` is what the network makes of its last block, where that is no norm of tokens alone
    (timm); `Backbone.finish` and `Backbone.pool` know how to read it.
    """

    cls: Tensor | None
    grid: Tensor
    final: Tensor | None = None


class Features(NamedTuple):
    """What an image is for a method.

    pooled (B, C): class token, or mean of the final tokens; tokens (B, N, C) after the last
    norm; raw (B, N, C) before it; grid (h, w) with N = h * w.
    """

    pooled: Tensor
    tokens: Tensor
    raw: Tensor
    grid: tuple[int, int]

    def split(self, rows: int) -> list['Features']:
        """Cut the batch into parts of ``rows`` images each."""
        parts = (t.split(rows) for t in (self.pooled, self.tokens, self.raw))
        return [Features(p, t, r, self.grid) for p, t, r in zip(*parts, strict=True)]


def flat(grid: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, N, C), row-major."""
    return grid.flatten(1, 2)
