"""Repeated augmentation: timm's order, resumable, another view of an image each time."""

import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler as Official

from mmssl.datasets import ImageDataset, RepeatAugSampler

from ..helpers.refusals import refuses


def sampler(count, rank, world, epoch, **settings):
    made = RepeatAugSampler(range(count), **settings)
    made.rank, made.world_size = rank, world
    made.set_epoch(epoch)
    return made


# images, ranks, repeats: above and below the 256 to which an epoch is rounded, and past the end
@pytest.mark.parametrize(
    ('count', 'world', 'repeats'),
    [(1000, 1, 3), (1000, 4, 3), (513, 2, 3), (256, 3, 2), (100, 3, 3), (50, 4, 1)],
)
@pytest.mark.parametrize('epoch', [0, 7])
def test_the_order_is_timms(count, world, repeats, epoch):
    for rank in range(world):
        official = Official(range(count), world, rank, num_repeats=repeats)
        official.set_epoch(epoch)
        ours = sampler(count, rank, world, epoch, repeats=repeats)
        assert [index for _, index, _ in ours] == list(official)
        assert len(ours) == len(official) == len(list(ours))
        assert {e for e, _, _ in ours} == {epoch}


@pytest.mark.parametrize(('count', 'world'), [(600, 1), (600, 2), (10, 3)])
def test_no_view_comes_twice(count, world):
    read = [at for rank in range(world) for at in sampler(count, rank, world, 2)]
    assert len(set(read)) == len(read)


def test_another_seed_gives_another_order():
    orders = {seed: list(sampler(40, 0, 1, 1, seed=seed)) for seed in (0, 1, None)}
    assert orders[0] == orders[None] != orders[1]


def test_skipping_gives_the_rest_of_the_epoch():
    whole = list(sampler(600, 1, 2, 4))
    cut = sampler(600, 1, 2, 4)
    cut.seek(4, 30)
    assert list(cut) == whole[30:]
    assert len(cut) == len(whole)


def test_less_than_one_repeat():
    with refuses('sampler.repeats', 0):
        RepeatAugSampler(range(4), repeats=0)


def test_the_repeats_of_an_image_are_other_views(image_folder):
    view = dict(type='TrainView', size=16)
    data = ImageDataset(str(image_folder), 'train', pipeline=[dict(type='LoadImage'), view])
    first, second, again = (data[0, 3, repeat]['inputs'] for repeat in (0, 1, 1))
    assert torch.equal(first, data[0, 3]['inputs'])
    assert torch.equal(second, again)
    assert not torch.equal(first, second)
