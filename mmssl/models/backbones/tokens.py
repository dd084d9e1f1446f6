"""What backbones say of images: token grids inside, features outside."""

from typing import NamedTuple

from torch import Tensor


class Tokens(NamedTuple):
    """Output of one block: cls (B, 1, C) or None, grid (B, h, w, C)."""

    cls: Tensor | None
    grid: Tensor


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
