"""Resizing of maps as products with fixed matrices, with antialiasing or without.

CUDA's backward of `torch.nn.functional.interpolate` is not deterministic, and raises where
deterministic algorithms are asked for; a product is, and equals it to rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.precision import full_precision
from ..core.table_cache import remembered

CUBIC = -0.75  # the free coefficient of torch's cubic convolution
SMOOTH_CUBIC = -0.5  # with antialiasing, as Pillow has it


def _linear_weights(share: Tensor) -> list[Tensor]:
    """Weights of the cells at -1, 0, 1, 2 for points a ``share`` behind cell 0."""
    return [torch.zeros_like(share), 1 - share, share, torch.zeros_like(share)]


def _cubic_weights(share: Tensor) -> list[Tensor]:
    """Weights of the cells at -1, 0, 1, 2 for points a ``share`` behind cell 0 (Keys 1981)."""

    def near(x: Tensor) -> Tensor:
        return ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


KERNELS: dict[str, Callable[[Tensor], list[Tensor]]] = {
    'bilinear': _linear_weights,
    'bicubic': _cubic_weights,
}


@remembered
def _matrix(mode: str, size: int, new: int, scale: float, dtype: torch.dtype) -> Tensor:
    """Matrix (new, size) that resizes an axis as `interpolate` does; edges are repeated."""
    at = (torch.arange(new, dtype=torch.float64) + 0.5) / scale - 0.5  # in cells of the old axis
    if mode == 'bilinear':
        at = at.clamp_min(0)
    first = at.floor()
    matrix = torch.zeros(new, size, dtype=torch.float64)
    for i, weight in enumerate(KERNELS[mode](at - first)):
        cell = (first.long() + i - 1).clamp(0, size - 1)
        matrix.scatter_add_(1, cell[:, None], weight[:, None])
    return matrix.to(dtype)


def _smooth_cubic(x: Tensor) -> Tensor:
    """Cubic kernel (Keys 1981) at distances ``x`` from its centre, in cells; zero from 2 on."""
    a = SMOOTH_CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


@remembered
def _smooth_matrix(size: int, new: int, scale: float, dtype: torch.dtype) -> Tensor:
    """Matrix (new, size) of bicubic resizing whose kernel widens where the axis shrinks."""
    centre = (torch.arange(new, dtype=torch.float64) + 0.5) / scale  # in cells of the old axis
    width = max(1 / scale, 1.0)
    cells = torch.arange(size, dtype=torch.float64) + 0.5
    weights = _smooth_cubic((cells - centre[:, None]).abs() / width)  # (new, size)
    return (weights / weights.sum(1, keepdim=True)).to(dtype)


@full_precision
def resize(
    x: Tensor,
    height: int,
    width: int,
    mode: str,
    scale: tuple[float, float] | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize maps (..., h, w) -> (..., height, width), in at least float32.

    ``mode``: 'bilinear' or 'bicubic', which alone takes ``antialias``. ``scale`` are the factors
    (down, across) by which places are mapped where they are not height / h and width / w. Equal to
    `interpolate` with ``align_corners=False`` (with a ``scale``, to its 'bicubic').
    """
    h, w = int(x.shape[-2]), int(x.shape[-1])
    # numbers: under tracing sizes are tensors
    height, width = int(height), int(width)
    down, across = scale or (height / h, width / w)
    if antialias:
        rows = _smooth_matrix(h, height, float(down), x.dtype, device=x.device)  # (height, h)
        columns = _smooth_matrix(w, width, float(across), x.dtype, device=x.device)  # (width, w)
    else:
        rows = _matrix(mode, h, height, float(down), x.dtype, device=x.device)  # (height, h)
        columns = _matrix(mode, w, width, float(across), x.dtype, device=x.device)  # (width, w)
    return rows @ (x @ columns.T)


@remembered
def _shares(size: int, new: int, dtype: torch.dtype) -> Tensor:
    """Matrix (new, size) of the share that each old cell has in each new one."""
    edges = torch.arange(new + 1, dtype=torch.float64) * size / new  # in old cells
    cells = torch.arange(size, dtype=torch.float64)
    low = torch.maximum(edges[:-1, None], cells)
    high = torch.minimum(edges[1:, None], cells + 1)
    return ((high - low).clamp_min(0) * new / size).to(dtype)


@full_precision
def average(maps: Tensor, height: int, width: int) -> Tensor:
    """Average maps (B, h, w, C) over the cells of a coarser grid -> (B, height, width, C).

    A cell on an edge counts in both by its share, so that no cell counts more than another.
    """
    h, w = int(maps.shape[1]), int(maps.shape[2])
    if (h, w) == (height, width):
        return maps
    rows = _shares(h, height, maps.dtype, device=maps.device)  # (height, h)
    columns = _shares(w, width, maps.dtype, device=maps.device)  # (width, w)
    return torch.einsum('yh,bhwc,xw->byxc', rows, maps, columns)
