"""Collectives: the identity on one process, rank order on two."""

import numpy as np
import pytest
import torch
from torch import distributed as td
from torch.testing import assert_close

from mmssl.core import dist


def test_one_process_is_its_own_world():
    x = torch.randn(3, 2, requires_grad=True)
    assert (dist.rank(), dist.world_size(), dist.active()) == (0, 1, False)
    for collective in (dist.gather, dist.gather_uneven, dist.sum_over_ranks):
        assert_close(collective(x).detach(), x.detach(), rtol=0, atol=0)
    assert not dist.gather(x).requires_grad
    assert not dist.gather_uneven(x).requires_grad
    assert dist.from_rank_zero(x) is x
    assert dist.object_from_rank_zero('a') == 'a'
    dist.wait()


def _collect():
    rank = dist.rank()
    rows = torch.arange(6.0).view(3, 2) + 10 * rank
    uneven = torch.full((2 + 3 * rank, 2), float(rank))
    mine = rows.clone().requires_grad_()
    found = dict(
        world=(rank, dist.world_size(), dist.active()),
        gather=dist.gather(mine),
        backwards=dist.gather(rows.T),  # not contiguous
        uneven=dist.gather_uneven(uneven),
        empty=dist.gather_uneven(torch.ones(4 * rank, dtype=torch.long)),
        sum=dist.sum_over_ranks(rows),
        first=dist.from_rank_zero(rows),
        value=dist.object_from_rank_zero({'rank': rank}),
        untouched=rows,
    )
    dist.wait()
    return found


@pytest.mark.parametrize('group', ['two_ranks', 'two_gpu_ranks'])
def test_two_ranks_agree_on_every_collective(group, request):
    """Host values travel on a group that takes them, whatever the default group serves."""
    answers = request.getfixturevalue(group)(_collect)
    a = torch.arange(6.0).view(3, 2)
    expected = dict(
        gather=torch.cat([a, a + 10]),
        backwards=torch.cat([a.T, a.T + 10]),
        uneven=torch.tensor([[0.0, 0.0]] * 2 + [[1.0, 1.0]] * 5),
        empty=torch.ones(4, dtype=torch.long),
        sum=2 * a + 10,
        first=a,
    )
    for rank, found in enumerate(answers):
        assert found['world'] == (rank, 2, True)
        assert found['value'] == {'rank': 0}
        assert not found['gather'].requires_grad
        assert_close(found['untouched'], a + 10 * rank, rtol=0, atol=0)
        for name, value in expected.items():
            assert_close(found[name], value, rtol=0, atol=0, msg=name)


def _refused():
    try:
        td.all_reduce(torch.ones(1))
    except RuntimeError as error:
        return str(error)
    return 'taken'


def test_the_stand_in_for_nccl_refuses_host_tensors(two_gpu_ranks):
    for said in two_gpu_ranks(_refused):
        assert 'No backend type associated with device type cpu' in said


def _draw():
    dist.seed_streams(7)
    return np.random.rand(), float(torch.rand(()))


def test_each_rank_draws_its_own_numbers(two_ranks):
    """Mixup draws from numpy, drop path from torch."""
    for rank, (ours, drop) in enumerate(two_ranks(_draw)):
        assert ours == np.random.RandomState(7 + rank).rand()
        assert drop == float(torch.rand((), generator=torch.Generator().manual_seed(7 + rank)))
