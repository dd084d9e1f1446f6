"""Under bfloat16 autocast the networks run in half precision, the objectives do not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmssl.functional import assign, contrast, distill, relation
from mmssl.models.heads import ContrastiveHead, DistillationHead, LinearHead, SwAVHead
from mmssl.models.heads.relation import RelationLoss

from ..helpers.methods import MODELS_BY_NAME, batch, build

HALF = torch.bfloat16


def draw(*shape: int, scale: float = 1.0) -> Tensor:
    """Numbers as a network under autocast returns them."""
    return (scale * torch.randn(*shape)).to(HALF)


def boxes() -> tuple[Tensor, Tensor]:
    """Two crops of two images."""
    return torch.tensor([[0, 0, 9, 9, 0], [2, 1, 8, 6, 1]]), torch.tensor([[3, 2, 9, 9, 1]] * 2)


def channel_pair(teacher: Tensor, student: Tensor) -> Tensor:
    """One term of SERE's channel objective, from the maps of two networks."""
    ours, theirs = (relation.channel_relation(x, 3)[None] for x in (student, teacher))
    return RelationLoss().channel_pairs(ours, None, theirs)


FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Callable[[], tuple[Any, ...]]]] = {
    'queue': (
        lambda q, k, n: contrast.info_nce(q, k, 0.2, n),
        lambda: (draw(4, 6), draw(4, 6), draw(6, 9)),
    ),
    'in batch': (lambda q, k: contrast.info_nce(q, k, 0.2), lambda: (draw(4, 6), draw(4, 6))),
    'head': (ContrastiveHead(0.1, scaled=True), lambda: (draw(4, 6), draw(4, 6))),
    'sinkhorn': (lambda s: assign.sinkhorn(s, 0.05, 3), lambda: (draw(8, 5, scale=0.3),)),
    'targets': (
        lambda s, c: assign.centered_softmax(s, c, 0.04),
        lambda: (draw(3, 4, 7), torch.randn(7)),
    ),
    'distill': (
        distill.cross_entropy,
        lambda: (torch.rand(3, 7).softmax(-1), draw(3, 7, scale=9)),
    ),
    'distillation head': (
        DistillationHead(7).loss,
        lambda: (torch.rand(3, 7).softmax(-1), draw(3, 7)),
    ),
    'swapped prediction': (
        lambda codes, scores: SwAVHead(4, 7).table(codes[None], scores[None]),
        lambda: (torch.rand(3, 7).softmax(-1), draw(3, 7)),
    ),
    'channels': (lambda x: relation.channel_relation(x, 3), lambda: (draw(2, 4, 3, 3),)),
    'places': (lambda x: relation.spatial_relation(x, 2), lambda: (draw(2, 4, 3, 3),)),
    'aligned': (
        lambda r: relation.sample_relation(r, *relation.overlap_grids(*boxes(), 4)),
        lambda: (draw(2, 3, 9, 9),),
    ),
    'relation loss': (channel_pair, lambda: (draw(2, 4, 3, 3), draw(2, 4, 3, 3))),
    'classes': (LinearHead(4, 5).loss, lambda: (draw(6, 5), torch.tensor([0, 1, 2, 3, 4, 0]))),
}


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.parametrize('single', [False, True], ids=['half inputs', 'single inputs'])
def test_objective_runs_in_float32(name: str, single: bool) -> None:
    """Bit for bit what float32 gives outside autocast, from the same (rounded) inputs."""
    function, make = FUNCTIONS[name]
    inputs = make()
    rounded = [x.float() if x.dtype == HALF else x for x in inputs]
    given, expected = rounded if single else inputs, function(*rounded)
    with torch.autocast('cpu', dtype=HALF):
        found = function(*given)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_matches_are_those_of_float32() -> None:
    student, teacher = 1 + draw(3, 40, 16), 1 + draw(3, 200, 16)
    with torch.autocast('cpu', dtype=HALF):
        found = distill.match_regions(student, teacher)
    cosines = torch.nn.functional.cosine_similarity(
        student.double()[:, :, None], teacher.double()[:, None], dim=-1
    )
    assert torch.equal(found, cosines.argmax(-1))
    # in half precision some would differ, so the comparison means something
    a, b = (torch.nn.functional.normalize(x, dim=-1) for x in (student, teacher))
    assert not torch.equal((a @ b.transpose(1, 2)).argmax(-1), found)


def test_centre_is_summed_in_float32() -> None:
    """Many rows: their sum has no room in half precision."""
    head, scores = DistillationHead(5), 20 + draw(4000, 5)
    with torch.autocast('cpu', dtype=HALF):
        head.observe(scores)
    head.end_step()
    expected = 0.1 * scores.double().mean(0)
    assert head.center.dtype == torch.float32
    assert torch.allclose(head.center[0].double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('name', MODELS_BY_NAME)
def test_method_under_autocast(name: str) -> None:
    """Losses and gradients are float32 and near those of full precision."""
    views, info = batch(name, 6)
    views = [view.float() for view in views]
    plain, half = build(name).float(), build(name).float()
    expected = plain(views, info, mode='loss')['loss']
    expected.backward()
    kinds = set()
    hooked = half.student.neck[next(iter(half.student.neck))]
    hooked.register_forward_hook(
        lambda _, args, out: kinds.add((out[0] if isinstance(out, tuple) else out).dtype)
    )
    with torch.autocast('cpu', dtype=HALF):
        losses = half(views, info, mode='loss')
    losses['loss'].backward()
    assert kinds == {HALF}  # the network did run in half precision
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert float(losses['loss'].detach()) == pytest.approx(float(expected.detach()), rel=0.05)
    ours, oracle = (
        torch.cat([p.grad.flatten() for p in m.student.parameters() if p.grad is not None])
        for m in (half, plain)
    )
    assert ours.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(ours, oracle, dim=0)) > 0.9


@pytest.mark.parametrize('name', ['moco', 'moby', 'swav', 'esvit', 'sere'])
def test_state_stays_in_float32(name: str) -> None:
    views, info = batch(name, 6)
    model = build(name).float()
    before = {k: v.dtype for k, v in model.state_dict().items()}
    with torch.autocast('cpu', dtype=HALF):
        model([view.float() for view in views], info, mode='loss')
    model.end_step()
    assert {k: v.dtype for k, v in model.state_dict().items()} == before
