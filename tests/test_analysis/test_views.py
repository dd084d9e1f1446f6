"""Views for display equal the views of training, and their captions state the parameters."""

import io
import random

import pytest
import torch

from mmssl.analysis.views import View, describe_view, training_views
from mmssl.core.color_ops import ColorOp
from mmssl.datasets.encoded_image import EncodedImage
from mmssl.datasets.transforms.multi_view import build_multi_view
from mmssl.datasets.transforms.view_params import ViewParams

from ..helpers.refusals import refuses

VIEW = dict(type='RandomView', size=16, jitter=(0.4, 0.4, 0.2, 0.1), blur=0.5, solarize=0.5)
MASK = dict(type='PatchMask', patch_size=4, ratio=(0.5,), var=(0.2,))
STEP = dict(type='MultiView', views=[dict(VIEW, repeat=2), dict(VIEW, size=8, repeat=2)], mask=MASK)
PIPELINE = [dict(type='LoadImage'), STEP]


@pytest.fixture
def image(make_image) -> EncodedImage:
    file = io.BytesIO()
    make_image((60, 44)).save(file, 'png')
    return EncodedImage(file.getvalue(), 'some.png')


def test_as_in_training(image):
    multi = build_multi_view(PIPELINE)
    made = multi(dict(image=image, rng=random.Random('1-2-3'), index=3, epoch=2))
    found = training_views(multi, image, '1-2-3', epoch=2)
    assert len(found) == 4
    for i, view in enumerate(found):
        assert torch.equal(view.pixels, made['inputs'][i])
        assert [*view.params.box, view.params.flip] == made['data_samples']['box'][i].tolist()
    assert torch.equal(found[1].mask, made['data_samples']['mask'][1])
    assert found[2].mask is None


def test_colours_that_a_device_would_paint_are_seen(image):
    device = build_multi_view([dict(STEP, pixels='device')])
    ours, theirs = (training_views(m, image, 's') for m in (device, build_multi_view(PIPELINE)))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.pixels, b.pixels)


def test_words(image):
    jitter = ((ColorOp.HUE, -0.05), (ColorOp.BRIGHTNESS, 1.25))
    drawn = ViewParams((6, 4, 30, 22), True, jitter, gray=True, blur=1.34)
    mask = torch.tensor([[True, False], [False, False]])
    assert describe_view(View(torch.zeros(3, 8, 8), drawn, mask), image) == [
        'crop 25 % of area → 8 px',
        '30 × 22 px at 6, 4',
        'flipped',
        'hue -18°',
        'brightness × 1.25',
        'grey',
        'blur 1.3 px',
        '25 % of the patches hidden',
    ]
    assert ColorOp.GRAY == 4


def test_a_pipeline_without_views_is_refused():
    pipeline = [dict(type='LoadImage'), dict(type='TrainView')]
    with refuses('pipeline', pipeline) as caught:
        build_multi_view(pipeline)
    assert 'LoadImage, TrainView' in str(caught.value)
