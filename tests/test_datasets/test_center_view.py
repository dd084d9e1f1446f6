"""Views of evaluation against torchvision's."""

import random

import numpy as np
import torchvision.transforms as T
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import _compute_resized_output_size

from mmssl.datasets.transforms import CenterView, RandomView
from mmssl.datasets.transforms.center_view import TrainView


@given(
    width=st.integers(9, 130),
    height=st.integers(9, 130),
    size=st.integers(4, 24),
    more=st.integers(0, 12),
    name=st.sampled_from(['bilinear', 'bicubic']),
)
def test_the_centre_is_torchvisions(width, height, size, more, name):
    rng = np.random.default_rng(width * height)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    expected = T.Compose([T.Resize(size + more, T.InterpolationMode(name)), T.CenterCrop(size)])(
        image
    )
    ours = CenterView(size, size + more, name)(dict(image=image, index=0))['inputs']
    np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_the_long_side_is_truncated_as_torchvision_does_for_every_size():
    """Also where the product is a whole number and floating point falls just short of it."""
    view, sizes = CenterView(8, 256), []

    class Sized:
        def __init__(self, size):
            self.size = size

        def resize(self, size, _):
            sizes.append(size)
            return Image.new('RGB', (8, 8))

    for long in range(100, 1000, 3):
        for short in (99, long // 3, long // 2, 2 * long // 3):
            view.view(Sized((long, short)))
            height, width = _compute_resized_output_size((short, long), [256])
            assert sizes.pop() == (width, height), (long, short)


def test_resize_defaults_to_the_share_of_imagenet():
    assert CenterView(224).resize == 256
    assert CenterView(96).resize == round(96 * 256 / 224)


def test_the_train_view_is_one_random_crop_with_flip(make_image):
    image = make_image((50, 40))
    ours = TrainView(16)(dict(image=image, rng=random.Random(5), index=1, label=0))
    view = RandomView(16, gray=0.0)
    drawn = view.sample_params(50, 40, random.Random(5))
    assert (drawn.gray, drawn.jitter, drawn.blur, drawn.solarize) == (False, (), None, False)
    expected = np.asarray(view.apply(image, drawn)).transpose(2, 0, 1)
    np.testing.assert_array_equal(ours['inputs'].numpy(), expected)
    assert ours['data_samples'] == dict(index=1, label=0)
