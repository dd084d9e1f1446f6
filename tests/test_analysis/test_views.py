"""Views drawn again are the views of training, and are said as they were drawn."""

import io
import random

import pytest
import torch

from mmssl.analysis.views import View, draw_views, multi_view, words
from mmssl.core import UserError
from mmssl.datasets.picture import Picture
from mmssl.datasets.transforms.draw import GRAY, HUE, Drawn

VIEW = dict(type='RandomView', size=16, jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, solarize=0.5)
MASK = dict(type='PatchMask', patch_size=4, ratio=(0.5,), var=(0.2,))
STEP = dict(type='MultiView', views=[dict(VIEW, repeat=2), dict(VIEW, size=8, repeat=2)], mask=MASK)
PIPELINE = [dict(type='LoadImage'), STEP]


@pytest.fixture
def picture(make_picture) -> Picture:
    file = io.BytesIO()
    make_picture((60, 44)).save(file, 'png')
    return Picture(file.getvalue(), 'some.png')


def test_as_in_training(picture):
    multi = multi_view(PIPELINE)
    made = multi(dict(image=picture, rng=random.Random('1-2-3'), index=3, epoch=2))
    found = draw_views(multi, picture, '1-2-3', epoch=2)
    assert len(found) == 4
    for i, view in enumerate(found):
        assert torch.equal(view.pixels, made['inputs'][i])
        assert [*view.drawn.box, view.drawn.flip] == made['data_samples']['box'][i].tolist()
    assert torch.equal(found[1].mask, made['data_samples']['mask'][1])
    assert found[2].mask is None


def test_colours_that_a_device_would_paint_are_seen(picture):
    device = multi_view([dict(STEP, pixels='device')])
    ours, theirs = (draw_views(m, picture, 's') for m in (device, multi_view(PIPELINE)))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.pixels, b.pixels)


def test_words(picture):
    drawn = Drawn((6, 4, 30, 22), True, ((HUE, -0.05), (0, 1.25)), gray=True, blur=1.34)
    mask = torch.tensor([[True, False], [False, False]])
    assert words(View(torch.zeros(3, 8, 8), drawn, mask), picture) == [
        'crop 25 % of area → 8 px',
        '30 × 22 px at 6, 4',
        'flipped',
        'hue -18°',
        'brightness × 1.25',
        'grey',
        'blur 1.3 px',
        '25 % of the patches hidden',
    ]
    assert GRAY == 4


def test_a_pipeline_without_views_is_refused():
    with pytest.raises(UserError, match=r'draws no views \(MultiView\) but has LoadImage, TrainVi'):
        multi_view([dict(type='LoadImage'), dict(type='TrainView')])
