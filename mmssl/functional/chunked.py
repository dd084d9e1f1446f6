"""Chunked cross-entropy of self-distillation: scores (rows, prototypes) are never stored whole.

Scores are computed for ``chunk_size`` prototypes at a time, from features and prototype weights.
The necks' ``chunk_size`` in a config sets it (see `DINONeck`); None there selects the plain form,
in ``distill.py``.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..core.precision import full_precision

AUTO = 'auto'
SCORES_BYTES = 2**30  # of a chunk, where the number of prototypes in it is chosen by memory
ChunkSize: TypeAlias = int | Literal['auto']


class FactoredLogits(NamedTuple):
    """Scores (..., K) in factored form: features (..., D) and weight (K, D).

    ``chunk_size`` is the number of prototypes whose scores are computed at a time, or 'auto': as
    many as make a GiB of scores. It can be split and reshaped like the scores, along all axes but
    the last.
    """

    features: Tensor
    weight: Tensor
    chunk_size: ChunkSize

    def split(self, sizes: Sequence[int]) -> list['FactoredLogits']:
        """Split features (B, ..., D) along the first axis into parts of the given sizes."""
        return [self._replace(features=f) for f in self.features.split(list(sizes))]

    def unflatten(self, dim: int, sizes: Sequence[int]) -> 'FactoredLogits':
        """Unflatten axis ``dim`` of the features, such as (B * N, D) -> (B, N, D)."""
        return self._replace(features=self.features.unflatten(dim, list(sizes)))

    def flatten_rows(self, index: Tensor | None = None) -> 'FactoredLogits':
        """Flatten features (..., D) to rows (R, D); with ``index`` (S,) only those rows."""
        features = self.features.flatten(0, -2)
        return self._replace(features=features if index is None else features[index])

    def at_least_float32(self) -> 'FactoredLogits':
        """Convert features (..., D) and weight (K, D) to float32, or keep a wider dtype."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        return FactoredLogits(self.features.to(dtype), self.weight.to(dtype), self.chunk_size)


class RowPairs(NamedTuple):
    """Pairs of a student row and the teacher row that is its target, each with a weight.

    E pairs in the order of the R student rows: ``teacher_rows`` (E,) are row numbers, ``shares``
    (E,) weights of the losses, and ``starts`` (R,) the first pair of each student row; a student
    row may have no pair.
    """

    teacher_rows: Tensor
    shares: Tensor
    starts: Tensor

    def weighted_sum(self, table: Tensor) -> Tensor:
        """Sum shares * teacher rows for each student row: table (T, k) -> (R, k)."""
        return F.embedding_bag(
            self.teacher_rows, table, self.starts, mode='sum', per_sample_weights=self.shares
        )


@full_precision
def cross_entropy(
    student: FactoredLogits,
    teacher: FactoredLogits,
    row_pairs: RowPairs,
    center: Tensor,
    temperatures: tuple[float, float],
) -> Tensor:
    """Sum over pairs of share * H(softmax((t - center) / T_t), softmax(s / T_s)), a scalar.

    Student rows (R, D), teacher rows (T, D), centre (K,), temperatures (T_s, T_t). Equals
    `distill.cross_entropy` on scores (R, K), with memory for (R + T, chunk_size). No gradient
    reaches the teacher. A second backward raises RuntimeError, because the gradients are computed
    once, in the forward.
    """
    student_temp, teacher_temp = temperatures
    student = student.at_least_float32()
    teacher = teacher.at_least_float32()
    rows = len(student.features) + len(teacher.features)
    chunk_size = chunk_of(student.chunk_size, rows, student.weight)
    scaled_teacher = FactoredLogits(
        teacher.features.detach() / teacher_temp, teacher.weight.detach(), chunk_size
    )
    found: Tensor = _CrossEntropy.apply(
        student.features / student_temp,
        student.weight,
        scaled_teacher,
        -center.flatten() / teacher_temp,
        row_pairs,
    )
    return found


def chunk_of(chunk_size: ChunkSize, rows: int, weight: Tensor) -> int:
    """Return the prototypes of a chunk of scores of so many rows; weight (K, D).

    With 'auto' chunks are equal but for rounding, and as few as keep to `SCORES_BYTES` each.
    """
    count = len(weight)
    if isinstance(chunk_size, int):
        return chunk_size
    chunks = -(-rows * count * weight.element_size() // SCORES_BYTES)
    return -(-count // max(min(chunks, count), 1))


def pairs(
    student: Sequence[FactoredLogits],
    teacher: Sequence[FactoredLogits],
    matches: list[list[Tensor]] | None,
    center: Tensor,
    temperatures: tuple[float, float],
) -> Tensor:
    """Mean of `cross_entropy` over all pairs of a teacher view and another student view, a scalar.

    T teacher and V student views of features (B, D), or (B, N, D) with ``matches`` as
    `distill.match_views` returns them; centre (K,) or (1, K). The views of a branch have the same
    prototype weight.
    """
    row_pairs = _pair_rows([s.features for s in student], [t.features for t in teacher], matches)
    student_rows, teacher_rows = (
        views[0]._replace(features=torch.cat([v.flatten_rows().features for v in views]))
        for views in (student, teacher)
    )
    return cross_entropy(student_rows, teacher_rows, row_pairs, center, temperatures)


def _pair_rows(
    student: list[Tensor], teacher: list[Tensor], matches: list[list[Tensor]] | None
) -> RowPairs:
    """Pair the rows of every student view with their matches in all other views of the teacher.

    Views are features (B, D) or (B, N, D), their rows numbered through all views of a side. Two
    (B, D) views pair row by row; regions pair by ``matches[i][v]`` (B, N). Each pair of views
    weighs the same, and so does each row in it.
    """
    device = student[0].device
    dtype = torch.promote_types(student[0].dtype, torch.float32)
    images = len(student[0])
    rows_per_view = [x[..., 0].numel() for x in student]
    teacher_view_rows = teacher[0][..., 0].numel()
    # the first row of every image in a teacher view, (B,)
    image_starts = torch.arange(0, teacher_view_rows, teacher_view_rows // images, device=device)

    student_rows: list[Tensor] = []  # one entry for each pair of views
    teacher_rows: list[Tensor] = []
    shares: list[Tensor] = []
    pairs_per_row: list[Tensor] = []  # one entry for each student view
    all_rows = torch.arange(sum(rows_per_view), device=device)
    for v, view_rows in enumerate(all_rows.split(rows_per_view)):
        others = [i for i in range(len(teacher)) if i != v]
        pairs_per_row.append(torch.full_like(view_rows, len(others)))
        for i in others:
            matched = image_starts  # (B,)
            if matches is not None:
                matched = image_starts[:, None] + matches[i][v]  # (B, N)
            student_rows.append(view_rows)
            teacher_rows.append(matched.flatten() + i * teacher_view_rows)
            share = 1 / len(view_rows)
            shares.append(torch.full((len(view_rows),), share, dtype=dtype, device=device))

    view_pairs = len(student_rows)
    order = torch.cat(student_rows).argsort(stable=True)
    counts = torch.cat(pairs_per_row)  # (R,)
    return RowPairs(
        teacher_rows=torch.cat(teacher_rows)[order],
        shares=torch.cat(shares)[order] / view_pairs,
        starts=counts.cumsum(0) - counts,
    )


def masked(
    student: FactoredLogits,
    teacher: FactoredLogits,
    shares: Tensor,
    center: Tensor,
    temperatures: tuple[Any, ...],
) -> Tensor:
    """Sum of shares (...) * `cross_entropy` of student and teacher patches, a scalar.

    Features (..., D), centre (K,) or (1, 1, K). Patches of share 0 are left out of the
    computation.
    """
    chosen = shares.flatten().nonzero()[:, 0]
    rows = torch.arange(len(chosen), device=chosen.device)
    row_pairs = RowPairs(teacher_rows=rows, shares=shares.flatten()[chosen], starts=rows)
    return cross_entropy(
        student.flatten_rows(chosen),
        teacher.flatten_rows(chosen),
        row_pairs,
        center,
        temperatures,
    )


@full_precision
def total(scores: FactoredLogits) -> Tensor:
    """Sum of the scores of all rows: features (..., D) and weight (K, D) -> (K,)."""
    factors = scores.flatten_rows().at_least_float32()
    return factors.weight @ factors.features.sum(0)


def _normaliser(
    features: Tensor, weight: Tensor, shift: Tensor, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Return row maxima (R, 1) of features @ weight.T + shift, and sums (R, 1) of exp minus these.

    features (R, D), weight (K, D), shift (K,); chunk by chunk (online softmax).
    """
    maximum = features.new_full((len(features), 1), -torch.inf)
    total = torch.zeros_like(maximum)
    chunks = zip(weight.split(chunk_size), shift.split(chunk_size), strict=True)
    for weight_chunk, shift_chunk in chunks:
        scores = torch.addmm(shift_chunk, features, weight_chunk.T)  # (R, k)
        higher = torch.maximum(maximum, scores.amax(1, keepdim=True))
        exponentials = scores.sub_(higher).exp_()
        total = total * (maximum - higher).exp() + exponentials.sum(1, keepdim=True)
        maximum = higher
    return maximum, total


class _CrossEntropy(torch.autograd.Function):
    """Two passes over the prototypes: normalisers of both softmaxes, then loss and gradients.

    The loss is a scalar, so the forward knows its gradients except for a factor: the second pass
    computes them too, which saves a third pass in the backward.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        teacher: FactoredLogits,
        shift: Tensor,
        row_pairs: RowPairs,
    ) -> Tensor:
        """Student features (R, D) and weight (K, D), teacher (T, D), shift (K,) -> ()."""
        chunk_size = int(teacher.chunk_size)  # `cross_entropy` has chosen

        # first pass: softmax = exp(scores - maximum) / total
        maximum, total = _normaliser(features, weight, torch.zeros_like(shift), chunk_size)
        teacher_maximum, teacher_total = _normaliser(
            teacher.features, teacher.weight, shift, chunk_size
        )

        # With s the student's scores minus their maximum (R, K), and q the sums of share *
        # teacher's softmax over the pairs of each student row (R, K), whose rows sum to w (R, 1):
        #   loss = sum_r w_r log total_r - sum_rk q_rk s_rk
        #   d loss / d scores = w softmax(scores) - q
        row_weight = row_pairs.weighted_sum(torch.ones_like(teacher_total))  # (R, 1)
        normalised = row_pairs.shares / teacher_total[row_pairs.teacher_rows, 0]  # (E,)
        target_pairs = row_pairs._replace(shares=normalised)
        loss = (row_weight * total.log()).sum()
        grad_features = torch.zeros_like(features)
        grad_weight = torch.empty_like(weight)

        # second pass: loss and gradients, chunk by chunk
        chunks = zip(
            weight.split(chunk_size),
            teacher.weight.split(chunk_size),
            shift.split(chunk_size),
            grad_weight.split(chunk_size),
            strict=True,
        )
        for weight_chunk, teacher_chunk, shift_chunk, grad_weight_chunk in chunks:
            teacher_scores = torch.addmm(shift_chunk, teacher.features, teacher_chunk.T)  # (T, k)
            teacher_exponentials = teacher_scores.sub_(teacher_maximum).exp_()
            targets = target_pairs.weighted_sum(teacher_exponentials)  # q, (R, k)
            scores = (features @ weight_chunk.T).sub_(maximum)  # s, (R, k)
            loss -= torch.linalg.vecdot(targets, scores).sum()
            # In place, in the memory of the scores: a second (R, k) would double the peak.
            # `scores` holds no scores any more from here on.
            grad_scores = scores.exp_().mul_(row_weight / total).sub_(targets)
            grad_features.addmm_(grad_scores, weight_chunk)
            torch.mm(grad_scores.T, features, out=grad_weight_chunk)
        ctx.grads = (grad_features, grad_weight)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients made in the forward by ``grad`` ()."""
        if ctx.grads is None:
            raise RuntimeError('a chunked loss can be back-propagated once; compute it anew')
        grad_features, grad_weight = ctx.grads
        ctx.grads = None
        return grad_features.mul_(grad), grad_weight.mul_(grad), None, None, None
