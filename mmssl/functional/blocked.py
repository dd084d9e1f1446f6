"""Self-distillation whose scores (rows, prototypes) are made in blocks and never held."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..core.precision import full_precision


class Factors(NamedTuple):
    """Scores (..., K) left as features (..., D) and weight (K, D), for ``block`` at a time.

    Cut and shaped like the scores they stand for, along all axes but the last.
    """

    features: Tensor
    weight: Tensor
    block: int

    def split(self, sizes: Sequence[int]) -> list['Factors']:
        """Cut the first axis."""
        return [self._replace(features=f) for f in self.features.split(list(sizes))]

    def unflatten(self, dim: int, sizes: Sequence[int]) -> 'Factors':
        """Make one axis several."""
        return self._replace(features=self.features.unflatten(dim, list(sizes)))

    def rows(self, chosen: Tensor | None = None) -> 'Factors':
        """Make all axes but the last one of rows (R, D); only those ``chosen`` by number."""
        features = self.features.flatten(0, -2)
        return self._replace(features=features if chosen is None else features[chosen])

    def wide(self) -> 'Factors':
        """In at least float32."""
        kind = torch.promote_types(self.weight.dtype, torch.float32)
        return Factors(self.features.to(kind), self.weight.to(kind), self.block)


class Links(NamedTuple):
    """The teacher rows that each of R student rows learns from, and the share of each pair.

    ``teacher`` and ``shares`` (E,) in the order of the student rows, whose first links are at
    ``first`` (R,).
    """

    teacher: Tensor
    shares: Tensor
    first: Tensor

    def gather(self, table: Tensor) -> Tensor:
        """(T, k) of teacher rows -> weighted sums (R, k) of student rows."""
        return F.embedding_bag(
            self.teacher, table, self.first, mode='sum', per_sample_weights=self.shares
        )


@full_precision
def cross_entropy(
    student: Factors,
    teacher: Factors,
    links: Links,
    center: Tensor,
    temperatures: tuple[float, float],
) -> Tensor:
    """Sum over links of share * H(softmax((t - center) / T_t), softmax(s / T_s)), a scalar.

    Student rows (R, D), teacher rows (T, D), centre (K,), temperatures (T_s, T_t). What
    `distill.cross_entropy` makes of (R, K) twice, in memory for (R + T, block). No gradient
    reaches the teacher, and the gradients serve one backward.
    """
    rows, weight, block = student.wide()
    targets, their_weight, _ = teacher.wide()
    own, other = temperatures
    their = Factors(targets.detach() / other, their_weight.detach(), block)
    return _CrossEntropy.apply(rows / own, weight, their, -center.flatten() / other, links)


def pairs(
    student: Sequence[Factors],
    teacher: Sequence[Factors],
    matches: list[list[Tensor]] | None,
    center: Tensor,
    temperatures: tuple[float, float],
) -> Tensor:
    """Mean of `cross_entropy` over pairs of T teacher and V other student views, and their rows.

    Features (B, D) each, or (B, N, D) with the matches (B, N) of every pair. The views of a side
    share its weight.
    """
    links = _link([s.features for s in student], [t.features for t in teacher], matches)
    joint = [
        side[0]._replace(features=torch.cat([x.rows().features for x in side]))
        for side in (student, teacher)
    ]
    return cross_entropy(joint[0], joint[1], links, center, temperatures)


def _link(
    student: list[Tensor], teacher: list[Tensor], matches: list[list[Tensor]] | None
) -> Links:
    device, images = student[0].device, len(student[0])
    kind = torch.promote_types(student[0].dtype, torch.float32)
    views = [x[..., 0].numel() for x in student]
    places = teacher[0][..., 0].numel()  # rows of a teacher view
    first = torch.arange(0, places, places // images, device=device)  # of every image
    rows, targets, shares, counts = [], [], [], []
    for v, view in enumerate(torch.arange(sum(views), device=device).split(views)):
        counts.append(torch.full_like(view, len(teacher) - (v < len(teacher))))
        for i in range(len(teacher)):
            if v != i:
                match = first if matches is None else first[:, None] + matches[i][v]
                targets.append(match.flatten() + i * places)
                rows.append(view)
                shares.append(torch.full((len(view),), 1 / len(view), dtype=kind, device=device))
    order, count = torch.cat(rows).argsort(stable=True), torch.cat(counts)
    share = torch.cat(shares)[order] / len(rows)
    return Links(torch.cat(targets)[order], share, count.cumsum(0) - count)


def masked(
    student: Factors, teacher: Factors, shares: Tensor, center: Tensor, temperatures: tuple
) -> Tensor:
    """Sum of shares (B, N) * `cross_entropy` of the same places; those of share 0 cost nothing.

    Features (B, N, D).
    """
    chosen = shares.flatten().nonzero()[:, 0]
    places = torch.arange(len(chosen), device=chosen.device)
    links = Links(places, shares.flatten()[chosen], places)
    return cross_entropy(student.rows(chosen), teacher.rows(chosen), links, center, temperatures)


@full_precision
def total(scores: Factors) -> Tensor:
    """Sum (K,) of the scores of all rows."""
    rows, weight, _ = scores.rows().wide()
    return weight @ rows.sum(0)


def _normaliser(rows: Tensor, weight: Tensor, shift: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Row maxima (R, 1) of rows @ weight.T + shift, and sums (R, 1) of exp above them."""
    top = rows.new_full((len(rows), 1), -torch.inf)
    total = torch.zeros_like(top)
    for part, offset in zip(weight.split(block), shift.split(block), strict=True):
        scores = torch.addmm(offset, rows, part.T)  # (R, k)
        higher = torch.maximum(top, scores.amax(1, keepdim=True))
        total = total * (top - higher).exp() + scores.sub_(higher).exp_().sum(1, keepdim=True)
        top = higher
    return top, total


class _CrossEntropy(torch.autograd.Function):
    """Two passes over the prototypes: the soft-maxes' normalisers, then loss and gradients.

    The loss is a scalar, so its gradients are known in the forward but for a factor: the second
    pass makes them as well, instead of a third one in the backward.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, teacher: Factors, shift: Tensor, links: Links
    ) -> Tensor:
        targets, their_weight, block = teacher
        top, total = _normaliser(rows, weight, torch.zeros_like(shift), block)
        their_top, their_total = _normaliser(targets, their_weight, shift, block)
        each = links.gather(torch.ones_like(their_total))  # (R, 1)
        links = links._replace(shares=links.shares / their_total[links.teacher, 0])
        loss = (each * total.log()).sum()
        grad_rows, grad_weight = torch.zeros_like(rows), torch.empty_like(weight)
        parts = (x.split(block) for x in (weight, their_weight, shift, grad_weight))
        for part, their_part, offset, grad in zip(*parts, strict=True):
            theirs = torch.addmm(offset, targets, their_part.T).sub_(their_top).exp_()  # (T, k)
            wanted, scores = links.gather(theirs), (rows @ part.T).sub_(top)  # (R, k)
            loss -= torch.linalg.vecdot(wanted, scores).sum()
            scores.exp_().mul_(each / total).sub_(wanted)  # now their gradient
            grad_rows.addmm_(scores, part)
            torch.mm(scores.T, rows, out=grad)
        ctx.grads = [grad_rows, grad_weight]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError('a loss made in blocks can be back-propagated once; compute it anew')
        (rows, weight), ctx.grads = ctx.grads, None
        return rows.mul_(grad), weight.mul_(grad), None, None, None
