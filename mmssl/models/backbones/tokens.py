"""Outputs of backbones: tokens of each block, and features of images."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core import UserError

CLS_AND_MEAN = ('cls+mean', 'interleaved')  # features of both, as a linear layer's input


class Tokens(NamedTuple):
    """Output of one block: cls (B, g, C), the class token first, or None; grid (B, h, w, C).

    ``final`` is the network's own output after its last block, where that is more than a norm of
    tokens (timm); `Backbone.final_norm` and `Backbone.pool` read it.
    """

    cls: Tensor | None
    grid: Tensor
    final: Tensor | None = None


class Features(NamedTuple):
    """Features of images, as methods and evaluations read them.

    pooled (B, C): class token, or mean of the final tokens; tokens (B, N, C) after the last
    norm; raw (B, N, C) before it; grid (h, w) with N = h * w.
    """

    pooled: Tensor
    tokens: Tensor
    raw: Tensor
    grid: tuple[int, int]

    def split(self, rows: int) -> list['Features']:
        """Split the features of B images into those of B / ``rows`` parts, (rows, C) each."""
        parts = (t.split(rows) for t in (self.pooled, self.tokens, self.raw))
        return [Features(p, t, r, self.grid) for p, t, r in zip(*parts, strict=True)]


def flat(grid: Tensor) -> Tensor:
    """Return the grid's tokens in row-major order: (B, h, w, C) -> (B, N, C)."""
    return grid.flatten(1, 2)


def padded_to(maps: Tensor, patch: int) -> Tensor:
    """Pad maps (B, C, H, W) with zeros at bottom and right to whole patches of ``patch`` cells."""
    h, w = maps.shape[-2:]
    if not (h % patch or w % patch):
        return maps  # padding by nothing would copy them
    return F.pad(maps, (0, -w % patch, 0, -h % patch))


def joined(blocks: list[Tokens], pool: str, name: str) -> Tensor:
    """Concatenate class tokens ('cls'), means ('mean', 'mean_raw') or 'cls+mean' -> (B, sum C).

    Of 'cls+mean' the mean is the last block's alone. 'interleaved' has the same numbers of one
    block in another order, class token and mean by turns (DINO ``eval_linear.py``). ``name`` is
    the network's. Raises UserError for another ``pool``, when a block has no class token, and for
    'interleaved' of several blocks.
    """
    if pool in ('mean', 'mean_raw'):
        return torch.cat([flat(t.grid).mean(1) for t in blocks], 1)
    if pool not in ('cls', *CLS_AND_MEAN) or any(t.cls is None for t in blocks):
        raise UserError(
            f"pool '{pool}' is not available for {name}; use 'auto', 'mean' or 'mean_raw'",
            key='pool',
            value=pool,
        )
    parts = [t.cls[:, 0] for t in blocks if t.cls is not None]
    if pool == 'cls':
        return torch.cat(parts, 1)
    mean = flat(blocks[-1].grid).mean(1)
    if pool == 'cls+mean':
        return torch.cat([*parts, mean], 1)
    if len(parts) > 1:
        raise UserError(
            f"pool 'interleaved' is that of one block, not of {len(parts)}; set blocks=1",
            key='blocks',
            value=len(parts),
        )
    return torch.stack([parts[0], mean], -1).flatten(1)  # (B, 2 C)
