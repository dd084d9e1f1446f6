"""The order of reading: the same global batches for any number of processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmssl.core import dist
from mmssl.datasets import EpochSampler

from ..helpers.refusals import refuses


class Images:
    """A data set whose items depend on the epoch."""

    takes_epoch = True

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def sampler(count, rank=0, world=1, epoch=0, **settings):
    made = EpochSampler(Images(count), **settings)
    made.rank, made.world_size = rank, world
    made.set_epoch(epoch)
    return made


def global_batches(count, world, batch, epoch):
    """Sets of images that one optimizer step sees, over all ranks."""
    ranks = [list(sampler(count, r, world, epoch, seed=3)) for r in range(world)]
    assert len({len(r) for r in ranks}) == 1
    share = batch // world
    steps = len(ranks[0]) // share
    return [
        sorted(at for rank in ranks for at in rank[i * share : (i + 1) * share])
        for i in range(steps)
    ]


@given(count=st.integers(8, 70), epoch=st.integers(0, 3))
def test_the_number_of_ranks_does_not_change_a_batch(count, epoch):
    one, two, four = (global_batches(count, world, 8, epoch) for world in (1, 2, 4))
    assert one == two == four
    assert len(one) == count // 8
    assert all(at[0] == epoch for step in one for at in step)


@given(count=st.integers(1, 30), world=st.integers(1, 4))
def test_evaluation_reads_every_image_once(count, world):
    ranks = [sampler(count, r, world, shuffle=False) for r in range(world)]
    read = sorted(at for rank in ranks for at in rank)
    assert read == [(0, i) for i in range(count)]
    assert [len(list(rank)) for rank in ranks] == [len(rank) for rank in ranks]


def test_an_epoch_is_a_permutation_drawn_from_seed_and_epoch():
    orders = {
        (seed, epoch): [i for _, i in sampler(20, epoch=epoch, seed=seed)]
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert all(sorted(order) == list(range(20)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert orders[0, 1] == [i for _, i in sampler(20, epoch=1, seed=None)]


def test_skipping_gives_the_rest_of_the_epoch():
    for rank in (0, 1):
        whole = list(sampler(21, rank, 2, epoch=4))
        cut = sampler(21, rank, 2, epoch=4)
        cut.skip = 6
        assert list(cut) == whole[6:]
        assert len(cut) == len(whole) == 10


def _ranks():
    made = EpochSampler(range(7), shuffle=False)
    return dist.rank(), list(made), len(made), len(EpochSampler(range(7)))


def test_two_real_ranks(two_ranks):
    assert two_ranks(_ranks) == [(0, [0, 2, 4, 6], 4, 3), (1, [1, 3, 5], 3, 3)]


def _starved():
    with refuses('dataset', 1) as caught:
        EpochSampler(range(1))
    return '2 processes' in str(caught.value)


def test_too_few_images_for_the_ranks(two_ranks):
    assert two_ranks(_starved) == [True, True]


@pytest.mark.parametrize('even', [True, False])
def test_evenness_can_be_chosen(even):
    ranks = [len(list(sampler(5, r, 2, shuffle=False, even=even))) for r in (0, 1)]
    assert ranks == ([2, 2] if even else [3, 2])


def test_a_data_set_that_takes_no_epoch_gets_the_index_alone():
    with_epoch = sampler(9, epoch=2, seed=3)
    plain = EpochSampler(range(9), seed=3)
    plain.set_epoch(2)
    assert [(2, index) for index in plain] == list(with_epoch)
