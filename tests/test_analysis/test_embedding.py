"""Features as colours and as points of a plane."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from mmssl.analysis.embedding import METHODS, one_per_cell, project
from mmssl.analysis.embedding_figures import thumbnails
from mmssl.analysis.patches import patch_colors

from ..helpers.refusals import refuses


def clusters(each: int = 12) -> torch.Tensor:
    """Two bundles of directions."""
    middle = torch.eye(16)[:2].repeat_interleave(each, 0)
    return 5 * middle + 0.1 * torch.randn(2 * each, 16)


def test_patch_colours_are_the_components_of_scikit_learn():
    tokens = torch.randn(5, 12, 9).double() * torch.arange(1, 10)
    colors = patch_colors(tokens, (3, 4)).flatten(0, 2).double().numpy()  # (B*N, 3)
    rows = (tokens - tokens.mean(1, keepdim=True)).flatten(0, 1).numpy()
    theirs = PCA(3).fit_transform(rows)
    for i in range(3):
        inside = (colors[:, i] > 0) & (colors[:, i] < 1)  # the rest is cut
        assert inside.mean() > 0.9
        ours, wanted = colors[inside, i], theirs[inside, i]
        fitted = np.polyval(np.polyfit(wanted, ours, 1), wanted)
        np.testing.assert_allclose(fitted, ours, atol=1e-6)


def test_plane_by_pca_is_that_of_the_covariance():
    features = torch.randn(30, 6)
    found = project(features, 'pca')
    rows = torch.nn.functional.normalize(features.double(), dim=1)
    rows = rows - rows.mean(0)
    values, axes = torch.linalg.eigh(rows.T @ rows)
    assert values[-1] > values[-2]
    expected = (rows @ axes[:, [-1, -2]]).abs().numpy()
    np.testing.assert_allclose(np.abs(found), expected, atol=1e-12)


@pytest.mark.parametrize('method', ['tsne', pytest.param('umap', marks=pytest.mark.slow)])
def test_neighbours_stay_together(method):
    if method == 'umap':
        pytest.importorskip('umap')
    points = project(clusters(), method)
    assert points.shape == (24, 2)
    apart_by = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart_by, np.inf)
    assert (apart_by.argmin(1) // 12 == np.arange(24) // 12).all()
    np.testing.assert_array_equal(points, project(clusters_again(), method))


def clusters_again() -> torch.Tensor:
    torch.manual_seed(0)
    return clusters()


def test_damaged_features_are_counted():
    broken = clusters()
    broken[[2, 5], 3] = float('inf')
    with refuses('features of images') as caught:
        project(broken)
    assert '(2 of 24)' in str(caught.value)


ROW = torch.randn(1, 16, generator=torch.Generator().manual_seed(3))
ALIKE = {
    'of all ones': torch.ones(24, 16),
    'of zeros': torch.zeros(24, 16),
    'equal': ROW.expand(24, 16),
    'equal but for rounding': ROW + 1e-7 * torch.arange(24)[:, None],
    'of one direction': ROW * torch.arange(1, 25)[:, None],
    'four': torch.ones(4, 16),
}


@pytest.mark.parametrize('name', ALIKE)
@pytest.mark.parametrize('method', METHODS)
def test_features_that_are_alike_have_no_map(name, method):
    """Those of t-SNE ended the process by a segmentation fault."""
    with refuses('features', len(ALIKE[name])):
        project(ALIKE[name], method)


@pytest.mark.parametrize('scale', [1e-30, 1e-8, 1e30])
def test_the_scale_of_features_does_not_matter(scale):
    np.testing.assert_allclose(
        project(scale * clusters_again(), 'pca'), project(clusters_again(), 'pca'), atol=1e-6
    )


DEGENERATE = {
    'two images many times': torch.eye(16)[:2].repeat(12, 1),
    'one image and another': torch.cat([torch.ones(23, 16), torch.eye(16)[:1]]),
    'columns that are constant': torch.cat([torch.ones(24, 14), clusters_again()[:, :2]], 1),
    'two columns': clusters_again()[:, :2],
    'the fewest': torch.eye(16)[:4],
}


@pytest.mark.parametrize('name', DEGENERATE)
@pytest.mark.parametrize('method', ['pca', 'tsne'])
def test_few_directions_are_placed(name, method):
    points = project(DEGENERATE[name], method)
    assert points.shape == (len(DEGENERATE[name]), 2)
    assert np.isfinite(points).all() and points.std() > 0


def test_one_image_a_cell():
    points = np.random.default_rng(0).uniform(-3, 5, (60, 2))
    chosen = one_per_cell(points, 4)
    low, high = points.min(0), points.max(0)
    at = (points - low) / (high - low) * 4
    for row in range(4):
        for column in range(4):
            inside = [
                i
                for i, (x, y) in enumerate(at)
                if min(int(x), 3) == column and 3 - min(int(y), 3) == row
            ]
            middle = np.array([column + 0.5, 3 - row + 0.5])
            nearest = min(inside, key=lambda i: np.sum((at[i] - middle) ** 2), default=None)
            assert chosen.get((row, column)) == nearest


def test_thumbnails_lie_in_their_cells():
    sheet = thumbnails({(0, 2): Image.new('RGB', (9, 9), 'red')}, 3, side=10)
    assert sheet.size == (30, 30)
    assert sheet.getpixel((25, 5)) == (255, 0, 0) and sheet.getpixel((5, 25)) == (255, 255, 255)
