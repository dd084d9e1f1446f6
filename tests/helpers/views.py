"""Views of a small pipeline, and their comparison across storages."""

from typing import Any

import torch

VIEWS = [
    dict(type='RandomView', size=16, jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, solarize=0.2),
    dict(type='RandomView', size=8, scale=(0.05, 0.4), repeat=2),
]
PIPELINE = [dict(type='LoadImage'), dict(type='MultiView', views=VIEWS)]


def items(dataset: Any) -> list[dict[str, Any]]:
    """Return views and labels of two epochs."""
    return [dataset[epoch, i] for epoch in (0, 3) for i in range(len(dataset))]


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs'], strict=True))
        for key in ('index', 'label', 'unreadable'):
            assert a['data_samples'][key] == b['data_samples'][key]
        assert torch.equal(a['data_samples']['box'], b['data_samples']['box'])
