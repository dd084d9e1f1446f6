"""Grouping views by size."""

import torch

from mmssl.core.views import equal_runs


def test_runs_of_consecutive_equal_widths_keep_their_order():
    views = [torch.full((2, 3, s, s), float(i)) for i, s in enumerate((8, 8, 4, 4, 4, 8))]
    runs = equal_runs(views)
    assert [[int(v[0, 0, 0, 0]) for v in run] for run in runs] == [[0, 1], [2, 3, 4], [5]]
