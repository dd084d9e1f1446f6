"""Views packed for the loader, with and without workers."""

import random

import numpy as np
import torch
from torch.testing import assert_close

from mmssl.datasets.transforms import MultiView, RandomView
from mmssl.engine import Runner

BIG = dict(type='RandomView', size=16, scale=(0.4, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
SMALL = dict(type='RandomView', size=8, scale=(0.05, 0.4), blur=0.5, solarize=0.5)


def item(image, seed=0):
    return dict(image=image, rng=random.Random(seed), index=4, label=2, path='x')


def test_views_and_boxes_come_in_order(make_image):
    image = make_image((50, 40))
    packed = MultiView([BIG, dict(SMALL, repeat=3)])(item(image))
    assert [tuple(v.shape) for v in packed['inputs']] == [(3, 16, 16)] + [(3, 8, 8)] * 3
    assert set(packed['data_samples']) == {'index', 'label', 'box'}
    assert (packed['data_samples']['index'], packed['data_samples']['label']) == (4, 2)
    # all draws come before any pixel, from the item's own generator
    rng = random.Random(0)
    views = [RandomView(**{k: v for k, v in c.items() if k != 'type'}) for c in (BIG, *[SMALL] * 3)]
    drawn = [view.sample_params(50, 40, rng) for view in views]
    boxes = packed['data_samples']['box']
    assert boxes.dtype == torch.int64
    assert boxes.tolist() == [[*d.box, int(d.flip)] for d in drawn]
    assert len({tuple(b) for b in boxes.tolist()}) == 4
    for view, d, ours in zip(views, drawn, packed['inputs'], strict=True):
        expected = view.apply(image, d).transpose(2, 0, 1)
        np.testing.assert_array_equal(ours.numpy(), expected)


def test_a_box_says_where_the_view_was_taken(make_image):
    """Colour-free views can be made again from their five numbers."""
    image = make_image((50, 40))
    plain = dict(type='RandomView', size=16, scale=(0.1, 0.6), gray=0.0, interpolation='nearest')
    packed = MultiView([dict(plain, repeat=6)])(item(image, 3))
    flips = packed['data_samples']['box'][:, 4].tolist()
    assert set(flips) == {0, 1}
    for view, (x, y, w, h, flip) in zip(
        packed['inputs'], packed['data_samples']['box'].tolist(), strict=True
    ):
        crop = image.crop((x, y, x + w, y + h)).resize((16, 16), 0)
        expected = np.asarray(crop)[:, ::-1] if flip else np.asarray(crop)
        np.testing.assert_array_equal(view.permute(1, 2, 0).numpy(), expected)


def batches(image_folder, workers, epoch, seed=0):
    loader = Runner.build_dataloader(
        dict(
            batch_size=5,
            num_workers=workers,
            persistent_workers=workers > 0,
            drop_last=True,
            sampler=dict(type='EpochSampler', shuffle=True, _scope_='mmssl'),
            dataset=dict(
                type='ImageDataset',
                _scope_='mmssl',
                data_root=str(image_folder),
                split='train',
                pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=[BIG, SMALL])],
            ),
        ),
        seed=seed,
    )
    loader.sampler.set_epoch(epoch)
    return list(loader)


def tensors(batch):
    return [v for v in batch['data_samples'].values() if isinstance(v, torch.Tensor)]


def same(a, b):
    return all(
        torch.equal(x, y)
        for left, right in zip(a, b, strict=True)
        for x, y in zip(
            (*left['inputs'], *tensors(left)),
            (*right['inputs'], *tensors(right)),
            strict=True,
        )
    )


def test_batches_do_not_depend_on_the_workers(image_folder):
    """The promise behind resuming: an item is a function of (seed, epoch, index)."""
    alone = batches(image_folder, 0, epoch=3)
    assert same(alone, batches(image_folder, 2, epoch=3))
    assert len(alone) == 24 // 5
    assert alone[0]['inputs'][0].shape == (5, 3, 16, 16)
    assert alone[0]['data_samples']['box'].shape == (5, 2, 5)
    assert not same(alone, batches(image_folder, 0, epoch=4))
    assert not same(alone, batches(image_folder, 0, epoch=3, seed=1))


def test_the_same_image_differs_between_epochs(image_folder):
    def views(epoch):
        found = {}
        for batch in batches(image_folder, 0, epoch):
            for i, index in enumerate(batch['data_samples']['index'].tolist()):
                found[index] = batch['data_samples']['box'][i]
        return found

    first, second = views(0), views(1)
    common = set(first) & set(second)
    assert len(common) > 12
    assert not any(torch.equal(first[i], second[i]) for i in common)
    assert_close(views(0)[min(common)], first[min(common)], rtol=0, atol=0)
