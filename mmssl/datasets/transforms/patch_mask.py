"""Random patch masks for masked image modelling (iBOT, BEiT): blocks or single patches."""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core import UserError
from ...registry import TRANSFORMS

TRIES = 10  # per block
ASPECT = math.log(0.3), math.log(1 / 0.3)


@TRANSFORMS.register_module()
class PatchMask:
    """Sampler of the patches of a view that are hidden (BEiT; iBOT ``loader.py``).

    Each entry of ``ratio`` becomes a sample of U(ratio - var, ratio + var), one entry is picked:
    (0, 0.3) with (0, 0.2) leaves half of the views unmasked. ``shape`` 'block' places rectangles
    and stays just below the ratio, 'rand' hides int(ratio * cells) single patches. Before
    ``start_epoch`` nothing is hidden. Raises UserError when ratio and var differ in length, a
    ratio is below its variance or outside [0, 1], or the shape is unknown.
    """

    def __init__(
        self,
        patch_size: int = 16,
        ratio: Sequence[float] = (0.0, 0.3),
        var: Sequence[float] = (0.0, 0.2),
        shape: str = 'block',
        start_epoch: int = 0,
    ) -> None:
        if len(ratio) != len(var):
            raise UserError(
                f'mask ratio={tuple(ratio)} and var={tuple(var)} differ in length; give one '
                'variance for each ratio',
                key='ratio',
                value=ratio,
            )
        for r, v in zip(ratio, var, strict=True):
            if not 0 <= v <= r <= 1:
                raise UserError(
                    f'mask ratio {r} with variance {v}: need 0 <= var <= ratio <= 1',
                    key='ratio',
                    value=ratio,
                )
        if shape not in ('block', 'rand'):
            raise UserError(
                f"mask shape '{shape}' is unknown; use 'block' or 'rand'", key='shape', value=shape
            )
        self.patch_size = patch_size
        self.shape = shape
        self.start_epoch = start_epoch
        self.ratio = tuple(ratio)
        self.var = tuple(var)

    def sample_ratio(self, rng: random.Random) -> float:
        """Return a sample of the share of patches to hide, in [0, 1]."""
        ratios = [
            rng.uniform(r - v, r + v) if v > 0 else r
            for r, v in zip(self.ratio, self.var, strict=True)
        ]
        return rng.choice(ratios) if len(ratios) > 1 else ratios[0]

    def sample(self, size: int, rng: random.Random, epoch: int = 0) -> Tensor:
        """Return a mask, bool (h, w), True where hidden, for a square view of ``size`` pixels."""
        side = size // self.patch_size
        cells = np.zeros((side, side), dtype=bool)
        if epoch >= self.start_epoch:
            target = self.sample_ratio(rng) * side * side
            if self.shape == 'block':
                place_blocks(cells, target, rng)
            else:
                scatter(cells, int(target), np.random.RandomState(rng.getrandbits(32)))
        return torch.from_numpy(cells)


def scatter(cells: NDArray[Any], count: int, rng: np.random.RandomState) -> None:
    """Hide exactly ``count`` of the cells, bool (h, w), in place."""
    order = np.hstack([np.zeros(cells.size - count, dtype=bool), np.ones(count, dtype=bool)])
    rng.shuffle(order)
    cells[:] = order.reshape(cells.shape)


def place_blocks(cells: NDArray[Any], target: float, rng: random.Random) -> None:
    """Hide rectangles of the cells, bool (h, w), in place, at most ``target`` cells in all."""
    hidden = 0
    while hidden < target:
        new = _place_block(cells, target - hidden, rng)
        if not new:
            return
        hidden += new


def _place_block(cells: NDArray[Any], room: float, rng: random.Random) -> int:
    """Hide one rectangle of the cells (h, w), at most ``room`` new ones; return how many."""
    height, width = cells.shape
    smallest = (min(height, width) // 3) ** 2
    for _ in range(TRIES):
        # with less room than the smallest block the range runs backwards, as upstream
        area = rng.uniform(smallest, room)
        aspect = math.exp(rng.uniform(*ASPECT))
        h = round(math.sqrt(area * aspect))
        w = round(math.sqrt(area / aspect))
        if h >= height or w >= width:
            continue
        top = rng.randint(0, height - h)
        left = rng.randint(0, width - w)
        block = cells[top : top + h, left : left + w]
        new = h * w - int(block.sum())
        if 0 < new <= room:
            block[:] = True
            return new
    return 0
