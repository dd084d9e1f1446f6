"""Project the features of many images to the plane: PCA, t-SNE or UMAP."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn import functional as F

from ..core import UserError
from ..evaluation.sanity_checks import ALIKE, refuse_non_finite

METHODS = ('pca', 'tsne', 'umap')
MIN_IMAGES = 4


def project(features: Tensor, method: str = 'tsne', seed: int = 0) -> NDArray[Any]:
    """Place features (N, C) in the plane (N, 2), by their direction.

    'pca' keeps two principal components; 'tsne' (van der Maaten and Hinton 2008, perplexity 30,
    or a third of the images) and 'umap' (McInnes et al. 2018, 15 neighbours) keep neighbours
    together and say little of far distances. Raises UserError for another method, for fewer than
    `MIN_IMAGES` images, for features that are one number, not finite or alike in all images, and
    where umap-learn is missing.
    """
    if method not in METHODS:
        raise UserError(
            f"method '{method}' is unknown; use one of {', '.join(METHODS)}",
            key='method',
            value=method,
        )
    if len(features) < MIN_IMAGES:
        raise UserError(
            f'features of {len(features)} images are too few for a map; give at least {MIN_IMAGES}',
            key='features',
            value=len(features),
        )
    refuse_non_finite(features, 'features of images')
    rows = _directions(features).cpu().numpy()
    if method == 'pca':
        places: NDArray[Any] = PCA(2, random_state=seed).fit_transform(rows)
        return places
    if method == 'tsne':
        perplexity = min(30.0, (len(rows) - 1) / 3)
        found: NDArray[Any] = TSNE(
            2, perplexity=perplexity, init='pca', random_state=seed
        ).fit_transform(rows)
        return found
    return _umap(rows, seed)


def _directions(features: Tensor) -> Tensor:
    """Return rows of length 1, in double precision: (N, C) -> (N, C).

    Raises UserError where they are nothing to place in a plane: t-SNE would end the process, UMAP
    draw a map of nothing.
    """
    count, width = features.shape
    if width < 2:
        raise UserError(
            f'features of {width} number have no direction to be placed by; give at least 2',
            key='features',
            value=width,
        )
    x = features.double()
    # scaled first, so that squares of tiny and of huge numbers are numbers
    rows = F.normalize(x / x.abs().amax(1, keepdim=True).clamp_min(1e-300), dim=1)
    if rows.std(0, correction=0).norm() < ALIKE:
        raise UserError(
            f'features of all {count} images are equal: the network has collapsed, or the images '
            'are copies of one, so that there is nothing to place in a plane',
            key='features',
            value=count,
        )
    return rows


def _umap(rows: NDArray[Any], seed: int) -> NDArray[Any]:
    try:
        from umap import UMAP
    except ImportError:
        raise UserError(
            "method 'umap' needs umap-learn: pip install umap-learn", key='method', value='umap'
        ) from None
    neighbours = min(15, len(rows) - 1)
    # with fewer images than a spectral start has dimensions it fails
    start = 'spectral' if len(rows) > 2 * neighbours else 'random'
    found: NDArray[Any] = UMAP(
        n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1
    ).fit_transform(rows)
    return found


def one_per_cell(points: NDArray[Any], cells: int) -> dict[tuple[int, int], int]:
    """Choose from points (N, 2), in each (row, column) of a grid, the one nearest its middle.

    Row 0 is the top, the largest second coordinate.
    """
    low, span = points.min(0), np.ptp(points, axis=0).clip(1e-12)
    at = (points - low) / span * cells  # (N, 2), 0..cells
    cell = np.minimum(at.astype(int), cells - 1)
    off = np.square(at - cell - 0.5).sum(1)
    chosen: dict[tuple[int, int], int] = {}
    for i in np.argsort(-off, kind='stable'):
        chosen[(cells - 1 - int(cell[i, 1]), int(cell[i, 0]))] = int(i)
    return chosen
