"""Synchronised batch norm on two ranks against plain batch norm on the joined batch."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmssl.core import UserError, dist
from mmssl.core.sync_bn import SyncBatchNorm, convert_sync_bn, read_sync_bn, sync_group

from ..helpers.ranks import Ranks
from ..helpers.refusals import check_refusal, refuses

CASES = {
    'rows': ((9, 3), dict(affine=True)),
    'maps': ((9, 3, 2, 4), dict(affine=True)),
    'without scale': ((9, 3), dict(affine=False)),
    'cumulative average': ((9, 3, 5), dict(momentum=None)),
    'frozen average': ((9, 3), dict(momentum=0.0)),
}
SPLIT = (4, 5)  # ranks need not have the same number of rows


def layer(shape, settings):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    norm = kind(shape[1], **settings).double()
    torch.manual_seed(1)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def steps(norm, batches, weights):
    """Two training steps and one look in eval mode."""
    found = {}
    for i, (x, w) in enumerate(zip(batches, weights, strict=True)):
        x = x.clone().requires_grad_()
        y = norm(x)
        (y.sin() * w).sum().backward()  # any loss that tells rows and channels apart
        found[f'y{i}'], found[f'grad{i}'] = y.detach(), x.grad
    if norm.affine:
        found['weight'], found['bias'] = norm.weight.grad, norm.bias.grad
    found['mean'], found['var'] = norm.running_mean, norm.running_var
    found['count'] = norm.num_batches_tracked
    found['eval'] = norm.eval()(batches[0]).detach()
    return found


def data(shape):
    generator = torch.Generator().manual_seed(2)
    draw = [torch.randn(2, *shape, dtype=torch.float64, generator=generator) for _ in range(2)]
    return 3 * draw[0] + 1, draw[1]


def _part(name):
    shape, settings = CASES[name]
    norm = convert_sync_bn(nn.Sequential(layer(shape, settings)), 'cpu')[0]
    assert type(norm) is SyncBatchNorm
    x, w = (t.split(SPLIT, dim=1)[dist.rank()] for t in data(shape))
    return steps(norm, x, w)


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_equal_the_joined_batch(two_ranks, name):
    shape, settings = CASES[name]
    joined = steps(layer(shape, settings), *data(shape))
    parts = two_ranks(_part, name)
    for key, expected in joined.items():
        if key in ('mean', 'var', 'count'):
            ours = parts[0][key]
            assert_close(parts[1][key], ours, rtol=0, atol=0)
        elif key in ('weight', 'bias'):
            ours = parts[0][key] + parts[1][key]
        else:
            ours = torch.cat([part[key] for part in parts])
        assert_close(ours, expected, rtol=1e-12, atol=1e-12, msg=lambda m, key=key: f'{key}: {m}')


def _single_rows():
    norm = SyncBatchNorm(3).double()
    x = torch.full((1, 3), float(dist.rank()), dtype=torch.float64)
    return norm(x).detach(), norm.running_var


def test_one_row_on_each_rank_is_a_batch_of_two(two_ranks):
    for rank, (y, var) in enumerate(two_ranks(_single_rows)):
        assert_close(y, torch.full_like(y, (2 * rank - 1) * (0.25 / (0.25 + 1e-5)) ** 0.5))
        assert_close(var, torch.full_like(var, 0.9 + 0.1 * 0.5))


def _empty():
    norm = SyncBatchNorm(3)
    errors = []
    for x in (torch.zeros(0, 3), torch.zeros(4)):
        try:
            norm(x)
        except ValueError as error:
            errors.append(str(error))
    return errors


def test_an_empty_batch_is_refused(two_ranks):
    for errors in two_ranks(_empty):
        assert len(errors) == 2
        assert all('non-empty' in error for error in errors)


def test_one_process_computes_as_plain_batch_norm():
    shape, settings = CASES['maps']
    plain = steps(layer(shape, settings), *data(shape))
    ours = steps(convert_sync_bn(layer(shape, settings), 'cpu'), *data(shape))
    for key, value in plain.items():
        assert_close(ours[key], value, rtol=0, atol=0)


def test_conversion_keeps_everything_but_the_class():
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-3), nn.Sequential(nn.BatchNorm1d(4))
    )
    net[2].eval()
    net[1].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = dict(net.named_parameters())
    done = convert_sync_bn(net, 'cpu')
    assert list(done.state_dict()) == list(state)
    assert all(dict(done.named_parameters())[n] is p for n, p in parameters.items())
    assert (done[1].eps, done[1].training, done[2][0].training) == (1e-3, True, False)
    assert convert_sync_bn(done, 'cpu')[1] is done[1]
    assert type(convert_sync_bn(nn.BatchNorm1d(2), 'cuda')) is nn.SyncBatchNorm


# groups -------------------------------------------------------------------------------------------
@pytest.fixture(scope='module')
def four_ranks():
    ranks = Ranks(4)
    yield ranks
    ranks.stop()


QUARTERS = (4, 5, 2, 7)  # rows of each rank


def _quarters(shape):
    return [t.split(QUARTERS, dim=1) for t in data((sum(QUARTERS), *shape[1:]))]


def _in_groups(name):
    shape, settings = CASES[name]
    norm = convert_sync_bn(nn.Sequential(layer(shape, settings)), 'cpu', sync_group(2))[0]
    x, w = (parts[dist.rank()] for parts in _quarters(shape))
    return steps(norm, x, w)


@pytest.mark.parametrize('name', ['rows', 'maps'])
def test_two_groups_of_two_are_two_joined_batches(four_ranks, name):
    shape, settings = CASES[name]
    found = four_ranks(_in_groups, name)
    for first in (0, 2):
        x, w = (torch.cat(parts[first : first + 2], 1) for parts in _quarters(shape))
        joined = steps(layer(shape, settings), x, w)
        pair = found[first : first + 2]
        for key in ('y0', 'y1', 'grad0', 'grad1', 'eval'):
            ours = torch.cat([part[key] for part in pair])
            assert_close(ours, joined[key], rtol=1e-12, atol=1e-12, msg=key)
        for key in ('mean', 'var'):
            for part in pair:
                assert_close(part[key], joined[key], rtol=1e-12, atol=1e-12, msg=key)
        assert_close(pair[0]['weight'] + pair[1]['weight'], joined['weight'], rtol=1e-12, atol=0)
    assert not torch.equal(found[0]['mean'], found[2]['mean'])


def _group_sizes():
    with pytest.raises(UserError) as caught:
        sync_group(3)
    check_refusal(caught.value, 'sync_bn.group_size', 3)
    return [sync_group(size) is None for size in (None, 4, 8)]


def test_groups_that_hold_all_ranks_are_no_groups(four_ranks):
    assert four_ranks(_group_sizes) == [[True] * 3] * 4


def test_settings():
    read = [read_sync_bn(s) for s in (None, False, True, 'torch', dict(group_size=8))]
    assert read == [(False, None), (False, None), (True, None), (True, None), (True, 8)]
    for settings in ('mmcv', 8, {}, dict(group_size=0), dict(groupsize=8), dict(group_size=2, a=1)):
        with refuses('sync_bn', settings):
            read_sync_bn(settings)
