"""Recorded functions of SwAV and SERE: Sinkhorn, queue, grids, frozen features."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmssl.checkpoint import load
from mmssl.functional.assign import sinkhorn
from mmssl.functional.relation import overlap_grids, sample_relation
from mmssl.models.backbones.vit import VisionTransformer, resize_positions
from mmssl.models.heads import SwAVHead

from ..helpers.ranks import Ranks

Golden = Callable[[str], SimpleNamespace]


def close(ours: Tensor, expected: Tensor, tol: float = 1e-12) -> None:
    """Compare relative to the largest element."""
    assert ours.shape == expected.shape
    assert float((ours.double() - expected.double()).abs().max()) <= tol * float(
        expected.double().abs().max().clamp_min(1e-12)
    )


# Sinkhorn -----------------------------------------------------------------------------------------
def settings(name: str) -> tuple[str, float, int]:
    """'scores.eps0.05.it3' -> ('scores', 0.05, 3)."""
    scores, rest = name.split('.eps')
    epsilon, iterations = rest.split('.it')
    return scores, float(epsilon), int(iterations)


def test_sinkhorn_on_one_process(golden: Golden) -> None:
    case = golden('swav_sinkhorn_a')
    names = [name for name in case.expect if not name.startswith('two_ranks')]
    assert len(names) == 21
    for name in names:
        scores, epsilon, iterations = settings(name)
        close(sinkhorn(case.batch[scores].double(), epsilon, iterations), case.expect[name])


def _sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    mine = torch.distributed.get_rank() * len(scores) // 2
    return sinkhorn(scores[mine : mine + len(scores) // 2], epsilon, iterations)


def test_sinkhorn_on_two_ranks(golden: Golden, two_ranks: Ranks) -> None:
    case = golden('swav_sinkhorn_a')
    names = [name for name in case.expect if name.startswith('two_ranks.rank0')]
    assert len(names) == 4
    for name in names:
        scores, epsilon, iterations = settings(name.removeprefix('two_ranks.rank0.'))
        parts = two_ranks(_sinkhorn, case.batch[scores].double(), epsilon, iterations)
        for rank, part in enumerate(parts):
            close(part, case.expect[name.replace('rank0', f'rank{rank}')])


# the queue ----------------------------------------------------------------------------------------
def test_queue_from_empty_to_full(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven iterations: filled by the first three, read from the fourth on."""
    case = golden('swav_queue_a')
    info, expect = case.case, case.expect
    head = SwAVHead(
        info['feat_dim'],
        info['n_prototypes'],
        info['temperature'],
        info['epsilon'],
        info['sinkhorn_iterations'],
        info['crops_for_assign'],
        queue_length=info['queue_length_per_gpu'],
        queue_start=0,
    ).double()
    head.prototypes.weight.data.copy_(case.batch['prototypes'])
    head.normalize_prototypes()
    seen: list[Tensor] = []
    codes: list[Tensor] = []

    def spy(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
        seen.append(scores)
        codes.append(sinkhorn(scores, epsilon, iterations))
        return codes[-1]

    monkeypatch.setattr('mmssl.models.heads.swav.assign.sinkhorn', spy)
    for i in range(7):
        views = [F.normalize(case.batch[f'it{i}.view_{v}'], dim=1) for v in range(3)]
        seen.clear()
        codes.clear()
        loss = head(views, epoch=0)
        head.memory.end_step()
        close(loss.detach(), expect[f'it{i}.loss'])
        close(head.memory.bank, expect[f'it{i}.queue'])
        assert [len(s) for s in seen] == expect[f'it{i}.n_sinkhorn_samples'].tolist()
        for crop in (0, 1):
            close(codes[crop][-3:], expect[f'it{i}.assign.crop_{crop}'])


# grids and relations ------------------------------------------------------------------------------
@pytest.mark.parametrize('size', [13, 6, 7])
def test_grids_are_equal_bit_for_bit(size: int, golden: Golden) -> None:
    expect = golden('sere_mask_a').expect
    ours = overlap_grids(expect['boxes.q'], expect['boxes.k'], size)
    for grid, name in zip(ours, 'qk', strict=True):
        assert grid.dtype == torch.float32
        assert torch.equal(grid, expect[f'grid.size{size}.{name}'])


def test_sampled_relation(golden: Golden) -> None:
    expect = golden('sere_mask_a').expect
    grid = expect['grid.size6.k'][[1, 4, 9, 15]]
    ours = sample_relation(expect['sampling.relation'].double(), grid, grid)
    close(ours, expect['sampling.out_size6_k_boxes_1_4_9_15'])


def test_crops_that_do_not_meet_have_no_relation(golden: Golden) -> None:
    expect = golden('sere_mask_a').expect
    grid = expect['grid.size6.k']
    apart = [i for i in range(len(grid)) if (grid[i] == -2).all()]
    assert apart == [8, 10, 18]
    relation = expect['sampling.relation'].double()[:3]
    assert not sample_relation(relation, grid[apart], grid[apart]).any()


@pytest.mark.parametrize('name', ['sere_vit_a', 'sere_vit_local_a'])
def test_grids_of_the_recorded_steps(name: str, golden: Golden) -> None:
    case = golden(name)
    batch, sizes = case.batch, case.case['replay']['loss']['overlap_size']
    for at, size in enumerate(sizes, 1):
        for i, grid in enumerate(overlap_grids(batch['box_0'], batch['box_1'], size)):
            assert torch.equal(grid, batch[f'grid{at}_view{i}'])
    for q in (0, 1):
        for v in range(len(case.case['replay']['views']['sizes']) - 2):
            mine, theirs = overlap_grids(batch[f'box_{2 + v}'], batch[f'box_{q}'], 6)
            assert torch.equal(mine, batch[f'grid_local_t{q}_l{v}'])
            assert torch.equal(theirs, batch[f'grid_global_t{q}_l{v}'])


# frozen features ----------------------------------------------------------------------------------
def eval_net(golden: Golden, branch: str) -> tuple[VisionTransformer, SimpleNamespace, Any]:
    """Load one branch of the recorded SERE checkpoint as a bare backbone."""
    from safetensors.torch import load_file

    case = golden('sere_vit_a')
    b = case.case['replay']['backbone']
    net = VisionTransformer(
        (b['embed_dim'], b['depth'], b['num_heads']), img_size=48, patch_size=8
    ).double()
    load(net, case.folder / 'official.pth', branch=branch)
    return net.eval(), case, load_file(case.folder / 'expect_eval.safetensors')


FEATURES = [
    (branch, image, blocks, mode)
    for branch, image, blocks, mode in (
        *(('teacher', 'eval_image', n, m) for n, m in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 2))),
        *(
            ('teacher', 'eval_image_large', n, m)
            for n, m in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 2))
        ),
        ('student', 'eval_image', 1, 0),
        ('student', 'eval_image_large', 1, 0),
    )
]


@pytest.mark.parametrize(('branch', 'image', 'blocks', 'mode'), FEATURES)
def test_descriptor_equals_ibots(
    branch: str, image: str, blocks: int, mode: int, golden: Golden
) -> None:
    net, case, expect = eval_net(golden, branch)
    pool = {0: 'cls', 1: 'mean_raw', 2: 'cls+mean'}[mode]
    with torch.no_grad():
        ours = net.last_blocks_features(case.batch[image].double(), blocks, pool)
    close(ours, expect[f'{branch}.{image}.n{blocks}_avgpool{mode}'])


def test_every_recorded_feature_is_compared(golden: Golden) -> None:
    _, _, expect = eval_net(golden, 'teacher')
    names = {f'{s}.{i}.n{n}_avgpool{m}' for s, i, n, m in FEATURES}
    assert set(expect) - names == {
        'teacher.eval_image.all_tokens',
        'teacher.pos_embed_interp_large',
        'teacher.pos_embed_interp_local',
    }


def test_tokens_and_positions_equal_ibots(golden: Golden) -> None:
    net, case, expect = eval_net(golden, 'teacher')
    with torch.no_grad():
        features = net.encode(case.batch['eval_image'].double())
        tokens = torch.cat([features.pooled[:, None], features.tokens], 1)
        close(tokens, expect['teacher.eval_image.all_tokens'])
        for name, branch in (('large', 8), ('local', 3)):
            positions = resize_positions(net.net.pos_embed, branch, branch)
            close(positions, expect[f'teacher.pos_embed_interp_{name}'])
