"""Resize Swin's tables of relative position biases from one window size to another."""

import math

from timm.layers import resize_rel_pos_bias_table_simple
from torch import Tensor

from ..core import UserError


def window_size(table: Tensor) -> int:
    """Return the window that a table of position biases (n*n, heads) is for: n = 2 window - 1."""
    return (math.isqrt(len(table)) + 1) // 2


def resize_table(table: Tensor, window: int) -> Tensor:
    """Resize position biases (n*n, heads) -> (m*m, heads), m = 2 window - 1.

    Bicubic, as in the official EsViT. Raises UserError when the table fits no square window.
    """
    if math.isqrt(len(table)) ** 2 != len(table):
        raise UserError(
            f'table: {len(table)} position biases fit no square window, which has (2 window - 1)^2',
            key='table',
            value=tuple(table.shape),
        )
    shape = ((2 * window - 1) ** 2, table.shape[1])
    found: Tensor = resize_rel_pos_bias_table_simple(table, (window, window), shape)
    return found
