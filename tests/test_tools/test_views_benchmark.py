"""The benchmark of views measures the views it names."""

import importlib

import pytest
import torch

from ..helpers.images import make_image
from ..helpers.paths import REPO

SHAPES = {
    'MoCo v3, 2x224': [224] * 2,
    'EsViT, 2x224 + 8x96': [224] * 2 + [96] * 8,
    'SwAV, 2x224 + 6x96': [224] * 2 + [96] * 6,
    'SERE, 2x224 + 10x96': [224] * 2 + [96] * 10,
    'CIFAR, 2x32': [32] * 2,
}


@pytest.fixture
def views(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'tools/dev')
    return importlib.import_module('benchmarks.views')


def test_all_kinds_make_the_same_number_of_pixels(views, tmp_path):
    (tmp_path / 'class').mkdir()
    make_image((240, 180)).save(tmp_path / 'class/a.jpg')
    assert set(views.RECIPES) == set(SHAPES)
    for name, sizes in SHAPES.items():
        for kind, make in views.KINDS.items():
            item = make(tmp_path, views.views_of(name))[0]
            made = item[0] if kind == 'torchvision' else item['inputs']
            assert [tuple(v.shape) for v in made] == [(3, s, s) for s in sizes]
            assert made[0].dtype == (torch.float32 if kind == 'torchvision' else torch.uint8)
