"""The benchmark of views measures the views it names."""

import importlib.util

import pytest
import torch

from mmssl.core import UserError

from ..helpers.images import make_image
from ..helpers.paths import REPO

FILE = REPO / 'tools/dev/benchmarks/views.py'
SHAPES = {
    'MoCo v3, 2x224': [224] * 2,
    'EsViT, 2x224 + 8x96': [224] * 2 + [96] * 8,
    'SwAV, 2x224 + 6x96': [224] * 2 + [96] * 6,
    'SERE, 2x224 + 10x96': [224] * 2 + [96] * 10,
    'CIFAR, 2x32': [32] * 2,
}


@pytest.fixture(scope='module')
def views():
    spec = importlib.util.spec_from_file_location('views_benchmark', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_kinds_make_the_same_number_of_pixels(views, tmp_path):
    make_image((240, 180)).save(tmp_path / 'a.jpg')
    assert set(views.RECIPES) == set(SHAPES)
    for name, sizes in SHAPES.items():
        for kind, make in views.KINDS.items():
            item = make(tmp_path, views.RECIPES[name])[0]
            made = item if kind == 'torchvision' else item['inputs']
            assert [tuple(v.shape) for v in made] == [(3, s, s) for s in sizes]
            assert made[0].dtype == (torch.float32 if kind == 'torchvision' else torch.uint8)


def test_the_table_has_ratios_of_its_own_rates(views, capsys):
    rows = views.main(
        ['--recipes', 'CIFAR', '--images', '32', '--batch', '8', '--rounds', '1', '--workers', '1']
    )
    assert len(rows) == 1
    name, workers, slow, exact, fast, first, second, *_ = rows[0]
    assert (name, workers) == ('CIFAR, 2x32', '1')
    assert float(second) == pytest.approx(float(fast) / float(slow), rel=0.05)
    assert float(first) == pytest.approx(float(exact) / float(slow), rel=0.05)
    assert '480 x 360 px JPEG, 1 rounds' in capsys.readouterr().out
    with pytest.raises(UserError, match='no match; available: MoCo v3, 2x224'):
        views.main(['--recipes', 'x'])
