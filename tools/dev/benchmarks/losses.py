"""Losses in chunks of prototypes against their textbook form, and ours beside lightly's.

textbook  distillation as papers and official codes write it, from all scores at once
lightly   (--peer) its DINO, SwAV and MoCo losses; benchmarks/peers.py says how to get it

All forms get the same bottleneck features and effective prototype weights, embeddings or negatives,
and give the loss and its gradients. MB are those above the inputs, without gradients of weights;
errors are those against the textbook form in float64, relative to the largest value.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from mmssl.functional import contrast, distill
from mmssl.functional.chunked import FactoredLogits
from mmssl.models.heads import DistillationHead, SwAVHead
from mmssl.models.queue import Queue

from .peers import LightlyLosses
from .timing import Builders, Comparison, make_on_device

HOT, COLD = 0.1, 0.04
WIDTH = 256
Found = tuple[Tensor, list[Tensor]]  # loss and gradients


def in_float64(x: Tensor) -> Tensor:
    """Return a leaf of the same values; indices and masks stay what they are."""
    exact = x.detach().double() if x.is_floating_point() else x
    return exact.requires_grad_(x.requires_grad)


class Task(NamedTuple):
    """One loss: student views, teacher views (..., D), both weights, matches or masks, centre."""

    student: list[Tensor]
    teacher: list[Tensor]
    weights: tuple[Tensor, Tensor]
    matches: list[list[Tensor]] | None
    mask: Tensor | None
    center: Tensor

    def inputs(self) -> list[Tensor]:
        """What gets a gradient; the weight last."""
        return [*self.student, self.weights[0]]

    def double(self) -> 'Task':
        """The same in float64."""
        return tree_map_only(torch.Tensor, in_float64, self)


Form = Callable[[Task], Tensor]


def unit(*shape: int) -> Tensor:
    """Random unit rows, as bottleneck features and prototypes are."""
    return F.normalize(torch.randn(*shape), dim=-1)


def task(prototypes: int, batch: int, places: list[int], mask: float | None = None) -> Task:
    """Draw a task of views with so many rows per image, the first two global; 0 is a view's one."""
    shapes = [(batch, n, WIDTH) if n else (batch, WIDTH) for n in places]
    student = [unit(*s).requires_grad_() for s in shapes]
    teacher = [unit(*s) for s in shapes[:2]]
    weights = (unit(prototypes, WIDTH).requires_grad_(), unit(prototypes, WIDTH))
    matches = None
    if places[0] and mask is None:
        tokens = [[unit(batch, n, 768) for n in views] for views in (places, places[:2])]
        matches = distill.match_views(*tokens)
    chosen = torch.rand(batch, 2, places[0]) < mask if mask is not None else None
    return Task(student, teacher, weights, matches, chosen, 0.1 * torch.randn(1, prototypes))


def textbook(t: Task) -> Tensor:
    """The loss as papers and official codes write it, from logits of all rows."""
    student = [x @ t.weights[0].T / HOT for x in t.student]
    with torch.no_grad():
        targets = [((x @ t.weights[1].T - t.center) / COLD).softmax(-1) for x in t.teacher]
    if t.mask is not None:
        terms = []
        for q, p, mask in zip(targets, student, t.mask.to(t.center).unbind(1), strict=True):
            loss = -(q * p.log_softmax(-1)).sum(-1) * mask
            terms.append((loss.sum(1) / mask.sum(1).clamp(min=1)).mean())
        return torch.stack(terms).mean()
    terms = []
    for i, q in enumerate(targets):
        for v, p in enumerate(student):
            if v != i:
                own = q if t.matches is None else distill.pick_regions(q, t.matches[i][v])
                terms.append(-(own * p.log_softmax(-1)).sum(-1).mean())
    return torch.stack(terms).mean()


def chunked(t: Task, size: int) -> Tensor:
    """The same through our head, ``size`` prototypes at a time."""
    head = DistillationHead(t.center.shape[1], HOT)
    head.center = t.center
    sides = zip((t.student, t.teacher), t.weights, strict=True)
    views = [[FactoredLogits(x, w, size) for x in side] for side, w in sides]
    if t.mask is not None:
        patches = [v[0]._replace(features=torch.stack([x.features for x in v])) for v in views]
        return head.masked(*patches, t.mask, COLD)
    return head(*views, COLD, t.matches)


def gradients(inputs: list[Tensor], loss: Callable[[], Tensor]) -> Found:
    """Forward and backward of a loss."""
    value = loss().sum()
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return value.detach(), [x for x in found if x is not None]


def run(tasks: list[Task], form: Form) -> Found:
    """Forward and backward of the mean over tasks."""
    inputs = [x for t in tasks for x in t.inputs()]
    return gradients(inputs, lambda: torch.stack([form(t) for t in tasks]).mean())


def error(found: Found, exact: Found) -> dict[str, str]:
    """Largest relative errors of loss and gradients."""
    loss = float((found[0].double() - exact[0]).abs() / exact[0])
    pairs = zip(found[1], exact[1], strict=True)
    largest = max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)
    return {'error of loss': f'{loss:.0e}', 'of gradients': f'{largest:.0e}'}


def side_by_side(
    calls: Mapping[str, Callable[[], Found]], exact: Found | None = None, uncounted: int = 0
) -> Comparison:
    """Time, memory, first value and, where the exact one is known, errors of a loss."""
    facts = {}
    for name, call in calls.items():
        found = call()
        facts[name] = dict(loss=f'{found[0]:.6f}', **(error(found, exact) if exact else {}))
    return Comparison(
        calls,
        ['textbook', 'lightly'],
        peaks=calls,
        uncounted=uncounted,
        facts=lambda name, _: facts[name],
    )


def distillation(tasks: list[Task], size: int, peer: Form | None = None) -> Comparison:
    """The forms of a loss over prototypes."""
    forms: dict[str, Form] = dict(textbook=textbook, ours=partial(chunked, size=size))
    if peer:
        forms['lightly'] = peer
    exact = run([t.double() for t in tasks], textbook)
    calls = {name: partial(run, tasks, form) for name, form in forms.items()}
    return side_by_side(calls, exact, sum(t.weights[0].nbytes for t in tasks))


def swav(peer: Callable[..., Callable[[], Tensor]]) -> Comparison:
    """Swapped prediction without a memory, codes included: 2 + 6 crops of 64 images."""
    head = SwAVHead()
    crops = [unit(64, 128).requires_grad_() for _ in range(8)]
    forms = dict(ours=lambda: head(crops, 0), lightly=peer(head, crops))
    inputs = [*crops, head.prototypes.weight]
    return side_by_side({name: partial(gradients, inputs, form) for name, form in forms.items()})


def moco(peer: Callable[..., Callable[[], Tensor]]) -> Comparison:
    """InfoNCE of 256 queries with 65,536 negatives; the queue takes the keys in."""
    queue = Queue(128, 65536)
    q, k = unit(256, 128).requires_grad_(), unit(256, 128)

    def ours() -> Tensor:
        queue.end_step()  # of the step before: this one's backward still needs the negatives
        loss = contrast.info_nce(q, k, 0.2, queue()[0])
        queue.push(k)
        return loss

    forms = dict(ours=ours, lightly=peer(q, k, queue.bank0))
    return side_by_side({name: partial(gradients, [q], form) for name, form in forms.items()})


def comparisons(batch: int = 4, chunk_size: int = 1024, peer: bool = False) -> Builders:
    """One of each loss; DINO takes 4 and iBOT 2 times as many images."""
    make_on_device()
    lightly = LightlyLosses(HOT, COLD) if peer else None
    draws: dict[str, Callable[[], list[Task]]] = {
        'EsViT Swin, views and regions, 65,536': lambda: [
            task(65536, batch, [0] * 10),
            task(65536, batch, [49] * 2 + [9] * 8),
        ],
        'DINO, 65,536': lambda: [task(65536, 4 * batch, [0] * 10)],
        'iBOT and SERE, 8,192': lambda: [
            task(8192, 2 * batch, [0] * 12),
            task(8192, 2 * batch, [196] * 2, mask=0.15),
        ],
    }
    found: Builders = {
        name: lambda _, name=name: distillation(
            draws[name](), chunk_size, lightly.dino if lightly and 'DINO' in name else None
        )
        for name in draws
    }
    if lightly:
        found['SwAV, 3,000'] = lambda _: swav(lightly.swav)
        found['MoCo, 65,536 negatives'] = lambda _: moco(lightly.moco)
    return found
