"""What deterministic mode asks of the networks, always on, beside torch's operators it refuses.

product  resizing and sampling as products with matrices, losses over rows of classes
torch    `interpolate`, `grid_sample`, the loss of maps: CUDA's backward of them raises

Forward and backward; the sizes are those of the published recipes.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mmssl.functional.grouped_linear import grouped_cross_entropy
from mmssl.functional.relation import overlap_grids, sample_relation
from mmssl.functional.resize import resize

from .timing import Builders, Comparison, make_on_device

Form = Callable[[Tensor], Tensor]
Task = tuple[Tensor, Form, Form]  # input, product, torch's


def resizing(shape: tuple[int, ...], side: int, mode: str) -> Task:
    """Maps of a shape (B, C, h, w) to side x side."""
    x = torch.randn(shape, requires_grad=True)
    return (
        x,
        lambda x: resize(x, side, side, mode),
        lambda x: F.interpolate(x, (side, side), mode=mode),
    )


def _keys(relation: Tensor, grid: Tensor) -> Tensor:
    """Sample the last axis of (B, M, Q, N) by torch: (B, M, Q, s * s)."""
    b, m, q, n = relation.shape
    side = round(n**0.5)
    maps = relation.view(b, m * q, side, side)
    found = F.grid_sample(maps, grid.to(relation), align_corners=False)
    return found.view(b, m, q, -1)


def alignment(batch: int, heads: int, side: int) -> Task:
    """A spatial relation of SERE, sampled where two crops of 224 overlap."""
    x = torch.randn(batch, heads, side**2, side**2, requires_grad=True)
    boxes = ([10, 20, 200, 180, 0], [50, 40, 160, 200, 1])
    rows, columns = overlap_grids(*(torch.tensor([box] * batch) for box in boxes), side)

    def sampled(x: Tensor) -> Tensor:
        return _keys(_keys(x, columns).transpose(2, 3).contiguous(), rows).transpose(2, 3)

    return x, lambda x: sample_relation(x, rows, columns), sampled


def losses(batch: int, layers: int, classes: int) -> Task:
    """Cross-entropy of many layers at once."""
    x, target = torch.randn(batch, layers, classes, requires_grad=True), torch.arange(batch)

    def maps(x: Tensor) -> Tensor:
        targets = target[:, None].expand(batch, layers)
        return F.cross_entropy(x.transpose(1, 2), targets, reduction='none')

    return x, lambda x: grouped_cross_entropy(x, target), maps


TASKS: dict[str, Callable[[], Task]] = {
    'positions of ViT-S, 14x14 to 6x6': partial(resizing, (1, 384, 14, 14), 6, 'bicubic'),
    'bias of ViL, 14x14 to 6x6 tokens': partial(resizing, (1, 12, 196, 196), 36, 'bicubic'),
    'logits of a segmenter, 16x919': partial(resizing, (16, 919, 14, 14), 28, 'bilinear'),
    'alignment of SERE, 16x6 heads': partial(alignment, 16, 6, 14),
    'losses of 45 layers, 32 images': partial(losses, 32, 45, 1000),
}


def gradient(x: Tensor, form: Form) -> Tensor:
    """Gradient of the sum of a form's squares."""
    (found,) = torch.autograd.grad(form(x).square().sum(), x)
    return found


def beside_torch(task: Callable[[], Task], rounds: int) -> Comparison:
    """Both forms on the same input, ``rounds`` times."""
    x, product, torchs = task()

    def times(form: Form) -> None:
        for _ in range(rounds):
            gradient(x, form)

    forms = dict(product=product, torch=torchs)
    return Comparison({name: partial(times, form) for name, form in forms.items()}, ['torch'])


def comparisons(rounds: int = 10) -> Builders:
    """One of each operator that is refused."""
    make_on_device()
    return {name: lambda _, task=task: beside_torch(task, rounds) for name, task in TASKS.items()}
