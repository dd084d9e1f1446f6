"""Two gloo processes against one process on the joined batch, in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as td
from torch.nn import functional as F

from mmssl.core import dist
from mmssl.core.sync_bn import SyncBatchNorm, convert_sync_bn
from mmssl.models.heads import DistillationHead
from mmssl.models.queue import FeatureBank, Queue

from ..helpers.methods import LOCALS, agree, batch, build, gradients, part, state
from ..helpers.ranks import Ranks

B = 4  # images of each rank
SYNCHRONISED = ('mocov3', 'moby', 'swav', 'esvit', 'dino', 'ibot', 'sere')


def mine(data: Any) -> Any:
    """Take this rank's images."""
    return part(data, slice(dist.rank() * B, (dist.rank() + 1) * B))


def step(model: Any, data: Any) -> dict[str, Any]:
    """Run what one training step does to a model, but for the optimizer."""
    if model.teacher_update == 'before':
        model.update_teacher()
    views, info = data
    losses = model(views, info, mode='loss')
    losses['loss'].backward()
    model.end_step()
    return dict(
        losses={k: v.detach() for k, v in losses.items()},
        grads=gradients(model),
        state=state(model),
    )


def averaged(found: dict[str, Any]) -> dict[str, Any]:
    """Average losses and gradients over ranks, as data-parallel training does."""
    for kind in ('losses', 'grads'):
        found[kind] = {
            k: dist.sum_over_ranks(v) / dist.world_size() for k, v in found[kind].items()
        }
    return found


def _two_steps(name: str, sync: bool) -> list[dict[str, Any]]:
    model = build(name)
    if sync:
        model = convert_sync_bn(model, 'cpu')
    if name == 'swav':
        model.head.memory.bank.copy_(shares(model.head.memory.bank))
    found = []
    for seed in (1, 2):
        model.zero_grad()
        found.append(averaged(step(model, mine(batch(name, 2 * B, seed)))))
    return found


@pytest.mark.parametrize('name', SYNCHRONISED)
def test_method_on_two_ranks(name: str, two_ranks: Ranks) -> None:
    """Losses, averaged gradients and all state (queues, centres, statistics) over two steps."""
    one = build(name)
    for at, seed in enumerate((1, 2)):
        one.zero_grad()
        expected = step(one, batch(name, 2 * B, seed))
        if at == 0:
            ranks = two_ranks(_two_steps, name, True)
        for found in (rank[at] for rank in ranks):
            agree(found['losses'], expected['losses'], 1e-12)
            agree(found['grads'], expected['grads'], 1e-10)
            if name == 'swav':
                bank = found['state']['head.memory.bank']
                found['state']['head.memory.bank'] = joined(bank)
            agree(found['state'], expected['state'], 1e-11)


def joined(bank: Tensor) -> Tensor:
    """Order two ranks' shares (A, L, D) as one process keeps them: step by step, then rank."""
    return bank.unflatten(1, (2, -1, B)).transpose(1, 2).reshape_as(bank)


def shares(bank: Tensor) -> Tensor:
    """Order the rows (A, L, D) of one process as two ranks keep them."""
    return bank.unflatten(1, (-1, 2, B)).transpose(1, 2).reshape_as(bank)


@pytest.mark.parametrize('name', ['mocov3', 'moby', 'esvit', 'sere'])
def test_unsynchronised_norms_differ(name: str, two_ranks: Ranks) -> None:
    """The comparison above would see statistics that stay on their rank."""
    expected = step(build(name), batch(name, 2 * B, 1))
    found = two_ranks(_two_steps, name, False)[0][0]
    assert abs(float(found['losses']['loss'] / expected['losses']['loss']) - 1) > 1e-6


@pytest.mark.parametrize('name', SYNCHRONISED)
def test_there_are_norms_to_synchronise(name: str) -> None:
    if name == 'ibot':  # without relations nothing in iBOT has a batch norm
        assert not any('running_mean' in key for key in build(name).state_dict())
    else:
        model = convert_sync_bn(build(name), 'cpu')
        assert any(isinstance(m, SyncBatchNorm) for m in model.modules())
        assert LOCALS.get(name, 0) >= 0


# MoCo: shuffled batch norm ------------------------------------------------------------------------
def _moco(order: Tensor | None) -> dict[str, Any]:
    model = build('moco')
    if order is None:
        model.teacher.eval()  # each image's key is then its own, whoever computes it
    model.log_embeddings = lambda student, teacher: seen.append(teacher)
    seen: list[Tensor] = []
    views, info = mine(batch('moco', 2 * B))
    torch.manual_seed(dist.rank())  # each rank would draw an order of its own
    found = step(model, (views, info if order is None else {'idx_shuffle': order}))
    return dict(averaged(found), keys=seen[0])


def test_moco_shuffles_and_brings_back(two_ranks: Ranks) -> None:
    order = torch.tensor([5, 0, 3, 6, 1, 7, 2, 4])
    found = two_ranks(_moco, order)
    views, _ = batch('moco', 2 * B)
    keys = torch.empty(2 * B, 6, dtype=torch.float64)
    for rank in (0, 1):
        # each rank's teacher sees the images that the order sends there, with its own statistics
        model = build('moco')
        model.update_teacher()
        images = order[rank * B : (rank + 1) * B]
        with torch.no_grad():
            keys[images] = model.teacher(views[1][images])
        agree(
            {k: v for k, v in found[rank]['state'].items() if k.startswith('teacher.')},
            {f'teacher.{k}': v for k, v in model.teacher.state_dict().items()},
            1e-12,
        )
    for rank in (0, 1):
        rows = slice(rank * B, (rank + 1) * B)
        assert torch.allclose(found[rank]['keys'], keys[rows], rtol=0, atol=1e-12)
        queue = found[rank]['state']['queue.bank0'][:, : 2 * B]
        assert torch.allclose(queue, F.normalize(keys, dim=1).T, rtol=0, atol=1e-12)
        assert found[rank]['state']['queue.pointer'].tolist() == [2 * B]


def test_moco_loss_and_gradients_with_given_keys(two_ranks: Ranks) -> None:
    """Queries keep their own images and norms: average of two runs with the known keys."""
    order = torch.tensor([5, 0, 3, 6, 1, 7, 2, 4])
    found = two_ranks(_moco, order)
    losses, grads = [], []
    for rank in (0, 1):
        model = build('moco')
        views, _ = part(batch('moco', 2 * B), slice(rank * B, (rank + 1) * B))
        q = F.normalize(model.student(views[0]), dim=1)
        k = F.normalize(found[rank]['keys'], dim=1)
        scores = torch.cat([(q * k).sum(1, keepdim=True), q @ model.queue.bank0], 1) / 0.2
        loss = -scores.log_softmax(1)[:, 0].mean()
        loss.backward()
        losses.append(float(loss.detach()))
        grads.append(gradients(model))
    expected = {k: (grads[0][k] + grads[1][k]) / 2 for k in grads[0]}
    for rank in (0, 1):
        assert float(found[rank]['losses']['loss']) == pytest.approx(sum(losses) / 2, rel=1e-12)
        agree(found[rank]['grads'], expected, 1e-11)


def test_moco_draws_one_order_for_all_ranks(two_ranks: Ranks) -> None:
    """Whatever the order is, keys come back to their images."""
    found = two_ranks(_moco, None)
    views, _ = batch('moco', 2 * B)
    model = build('moco')
    model.update_teacher()
    with torch.no_grad():
        keys = model.teacher.eval()(views[1])
    for rank in (0, 1):
        mine_of = keys[rank * B : (rank + 1) * B]
        assert torch.allclose(found[rank]['keys'], mine_of, rtol=0, atol=1e-12)
        bank = found[rank]['state']['queue.bank0'][:, : 2 * B]
        assert torch.allclose(bank, F.normalize(keys, dim=1).T, rtol=0, atol=1e-12)


# queues -------------------------------------------------------------------------------------------
def _push(steps: int) -> Tensor:
    queue = Queue(3, 7, banks=2).double()
    for _ in range(steps):
        rank = float(dist.rank())
        rows = torch.arange(2, dtype=torch.float64)[:, None]
        keys = torch.cat([rows + 1, rows * 0 + rank + 1, rows * 0 + float(queue.pointer)], 1)
        queue.push(keys, -keys)
        queue.end_step()
    return torch.cat([queue.bank0, queue.bank1, queue.pointer.expand(3, 1).double()], 1)


def test_queue_gathers_in_rank_order_and_wraps(two_ranks: Ranks) -> None:
    a, b = two_ranks(_push, 2)
    columns = [
        (row + 1, rank + 1, pointer) for pointer in (0, 4) for rank in (0, 1) for row in (0, 1)
    ]
    bank = torch.zeros(3, 7, dtype=torch.float64)
    for at, column in enumerate(columns):  # the eighth key lands on the first column
        bank[:, at % 7] = F.normalize(torch.tensor(column, dtype=torch.float64), dim=0)
    for found in (a, b):
        assert torch.allclose(found[:, :7], bank, rtol=0, atol=1e-15)
        assert torch.allclose(found[:, 7:14], -bank, rtol=0, atol=1e-15)
        assert found[:, 14].tolist() == [1, 1, 1]


def _fill(steps: int) -> dict[str, Any]:
    bank = FeatureBank(2, 9, 2).double()  # 9 is used up to 8, the last multiple of 4
    seen = []
    for i in range(steps):
        stored = bank.read(1, 2)
        seen.append(None if stored is None else stored.clone())
        values = torch.tensor([[i, 0], [i, 1]], dtype=torch.float64) + 10 * (dist.rank() + 1)
        bank.push([values, -values])
        bank.end_step()
    return dict(bank=bank.bank, seen=seen)


def test_feature_bank_feeds_each_rank_its_own(two_ranks: Ranks) -> None:
    found = two_ranks(_fill, 4)
    for rank in (0, 1):
        share = [[i + 10.0 * (rank + 1), j + 10.0 * (rank + 1)] for i in (3, 2) for j in (0, 1)]
        for other in (0, 1):  # replicated: both ranks hold both shares
            rows = found[other]['bank'][:, 4 * rank : 4 * rank + 4]
            assert rows[0].tolist() == share
            assert rows[1].tolist() == [[-a, -b] for a, b in share]
        assert found[rank]['bank'][:, 8].tolist() == [[0, 0], [0, 0]]
        # full after two steps, read from the third on
        assert [stored is None for stored in found[rank]['seen']] == [True, True, False, False]
        assert found[rank]['seen'][2][:, 0].tolist() == [
            -(i + 10.0 * (rank + 1)) for i in (1, 1, 0, 0)
        ]


# centres ------------------------------------------------------------------------------------------
def _observe(scores: Tensor) -> Tensor:
    head = DistillationHead(3, center_momentum=0.8).double()
    head.center.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
    for part_of in scores.chunk(2)[dist.rank()].chunk(2):
        head.observe(part_of)
    head.end_step()
    return head.center


def test_centre_is_the_mean_over_ranks(two_ranks: Ranks) -> None:
    scores = torch.randn(8, 3, dtype=torch.float64)
    expected = 0.8 * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) + 0.2 * scores.mean(0)
    for center in two_ranks(_observe, scores):
        assert torch.allclose(center[0], expected, rtol=0, atol=1e-15)


def _sizes() -> tuple[int, int, Any]:
    return dist.rank(), dist.world_size(), td.get_backend()


def test_these_are_two_gloo_processes(two_ranks: Ranks) -> None:
    assert two_ranks(_sizes) == [(0, 2, 'gloo'), (1, 2, 'gloo')]
