"""Distillation in blocks against the plain form, which the golden cases pin."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mmssl.functional import chunked, distill
from mmssl.functional.chunked import FactoredLogits
from mmssl.models.heads import DistillationHead

from ..helpers.methods import MODELS_BY_NAME, agree, batch, build, gradients

TIGHT = dict(rtol=1e-12, atol=1e-14)
SIZES = st.integers(1, 4)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def head_of(prototypes: int, student_temp: float) -> DistillationHead:
    head = DistillationHead(prototypes, student_temp).double()
    head.center.copy_(normal(1, prototypes))
    return head


def both(head: DistillationHead, run: Any, branches: list[list[Tensor]], block: int) -> list[Any]:
    """Loss, gradients and centre of the plain and of the blocked form, for the same factors.

    ``branches`` are the features of the student's and the teacher's views, then both weights.
    """
    found = []
    start = head.center.clone()
    for blocks in (None, block):
        student, teacher, weights = (
            [x.clone().requires_grad_() for x in branch] for branch in branches
        )
        scores = [
            [FactoredLogits(x, w, blocks) if blocks else x @ w.T for x in views]
            for views, w in zip((student, teacher), weights, strict=True)
        ]
        loss = run(head, *scores)
        (2 * loss).backward()
        head.end_step()
        grads = [x.grad for x in (*student, weights[0])]
        found.append((loss.detach(), grads, head.center.clone()))
        assert not blocks or all(x.grad is None for x in (*teacher, weights[1]))
        head.center.copy_(start)
    return found


def check(answers: list[Any]) -> None:
    for (loss, grads, center), (ours, our_grads, our_center) in [answers]:
        assert_close(ours, loss, **TIGHT)
        assert_close(our_center, center, **TIGHT)
        for mine, expected in zip(our_grads, grads, strict=True):
            expected = torch.zeros_like(mine) if expected is None else expected
            assert_close(mine, expected, **TIGHT)


@given(SIZES, SIZES, st.integers(2, 4), st.integers(1, 12), st.integers(1, 14), st.booleans())
def test_pairs_are_the_plain_form(
    images: int, places: int, views: int, prototypes: int, block: int, regions: bool
) -> None:
    """Any block, also one that does not divide the prototypes or exceeds them."""
    torch.manual_seed(0)
    counts = [places, places, *[1 + i for i in range(views - 2)]]
    shapes = [(images, n, 5) if regions else (images, 5) for n in counts]
    student, teacher = [normal(*s) for s in shapes], [normal(*s) for s in shapes[:2]]
    matches = [[torch.randint(places, (images, n)) for n in counts] for _ in (0, 1)]
    head = head_of(prototypes, 0.3)

    def run(head: DistillationHead, s: Any, t: Any) -> Tensor:
        return head(s, t, 0.07, matches if regions else None)

    weights = [normal(prototypes, 5), normal(prototypes, 5)]
    check(both(head, run, [student, teacher, weights], block))


@given(SIZES, SIZES, st.integers(1, 12), st.integers(1, 14), st.floats(0, 1))
def test_masked_patches_are_the_plain_form(
    images: int, places: int, prototypes: int, block: int, ratio: float
) -> None:
    """With no, some and all patches masked."""
    torch.manual_seed(0)
    mask = torch.rand(images, 2, places) < ratio
    features = [[normal(2, images, places, 5)] for _ in (0, 1)]
    weights = [normal(prototypes, 5), normal(prototypes, 5)]
    head = head_of(prototypes, 0.3)

    def run(head: DistillationHead, s: Any, t: Any) -> Tensor:
        return head.masked(s[0], t[0], mask, 0.07)

    check(both(head, run, [*features, weights], block))


@pytest.mark.parametrize(
    ('rows', 'count', 'expected'),
    [
        (8576, 65_536, 21_846),  # EsViT's regions of 32 images: 2.1 GiB are three chunks
        (100, 65_536, 65_536),  # they fit at once
        (2**30, 10, 1),  # one of them is more than a GiB
    ],
)
def test_chunks_by_memory(rows: int, count: int, expected: int) -> None:
    weight = torch.empty(count, 1)
    assert chunked.chunk_of('auto', rows, weight) == expected
    assert chunked.chunk_of(1024, rows, weight) == 1024


def test_the_equation_by_hand() -> None:
    """Each pair by itself, without the head."""
    student, weight, teacher, their = normal(3, 5), normal(7, 5), normal(4, 5), normal(7, 5)
    center, pairs = normal(7), [(0, 2, 0.5), (0, 1, 0.25), (2, 1, 2.0)]  # row 1 learns nothing
    row_pairs = chunked.RowPairs(
        torch.tensor([t for _, t, _ in pairs]),
        torch.tensor([share for *_, share in pairs], dtype=torch.float64),
        torch.tensor([0, 2, 2]),
    )
    expected = normal(()) * 0
    for s, t, share in pairs:
        target = ((teacher[t] @ their.T - center) / 0.04).softmax(-1)
        expected += share * distill.cross_entropy(target, student[s] @ weight.T, 0.1)
    found = chunked.cross_entropy(
        FactoredLogits(student, weight, 3),
        FactoredLogits(teacher, their, 3),
        row_pairs,
        center,
        (0.1, 0.04),
    )
    assert_close(found, expected, **TIGHT)


def test_scores_far_above_what_exp_can_hold() -> None:
    """Maxima that grow from block to block, in float32."""
    student, teacher = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    weight = torch.arange(-40.0, 60.0)[:, None]
    scores, targets = student @ weight.T, (teacher @ weight.T / 0.1).softmax(-1)
    expected = distill.cross_entropy(targets, scores, 0.1)[0]
    row_pairs = chunked.RowPairs(torch.tensor([0]), torch.tensor([1.0]), torch.tensor([0]))
    one = FactoredLogits(student, weight, 7)
    found = chunked.cross_entropy(
        one, FactoredLogits(teacher, weight, 7), row_pairs, weight[:, 0] * 0, (0.1, 0.1)
    )
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_second_backward_is_refused() -> None:
    one = FactoredLogits(normal(2, 5).requires_grad_(), normal(7, 5), 3)
    loss = chunked.masked(
        one._replace(features=one.features[None]),
        one._replace(features=one.features[None]),
        torch.full((1, 2), 0.5, dtype=torch.float64),
        normal(7),
        (0.1, 0.1),
    )
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match='once'):
        loss.backward()


@pytest.mark.parametrize('name', ['dino', 'esvit', 'ibot', 'sere'])
def test_a_methods_step_is_the_plain_one(name: str) -> None:
    """Losses, all gradients and the centres, through the whole method."""
    answers = []
    for block in (None, 4):
        model = build(name, neck=dict(MODELS_BY_NAME[name]['neck'], chunk_size=block))
        losses = model(*batch(name, 3), mode='loss')
        losses['loss'].backward()
        losses = {k: v.detach() for k, v in losses.items()}
        model.end_step()
        centres = {n: b.clone() for n, b in model.named_buffers() if n.endswith('center')}
        answers.append((losses, gradients(model), centres))
    for expected, found in zip(*answers, strict=True):
        agree(found, expected, 1e-11)  # the bias before a batch norm is all rounding
    assert len(answers[0][2]) == (1 if name == 'dino' else 2)


def test_half_features_are_computed_in_float32() -> None:
    """Under autocast: bit for bit what float32 gives from the same rounded features."""
    student, teacher = torch.randn(2, 5), torch.randn(2, 5)
    weight, head = torch.randn(7, 5), DistillationHead(7)
    found = []
    for kind in (torch.bfloat16, torch.float32):
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=kind == torch.bfloat16):
            views = [x.bfloat16().to(kind) for x in (student, teacher)]
            views = [FactoredLogits(x, weight, 3) for x in views]
            found.append(head(views, views, 0.1))
    assert found[0].dtype == torch.float32
    assert torch.equal(*found)
    assert head.rows == 2 * 4  # of both calls
    features = torch.cat([student, teacher]).bfloat16().double()
    assert_close(head.collected[0].double(), 2 * features.sum(0) @ weight.double().T)
