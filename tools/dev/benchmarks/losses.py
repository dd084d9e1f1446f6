"""Distillation losses in blocks of prototypes against their textbook form, in the same run.

Both get bottleneck features and effective prototype weights and give the loss and its gradients
with respect to the student's. Printed: median seconds of forward and backward, peak memory above
the inputs without the weights' gradients, ratios (blocked / textbook), and the error of loss and
gradients of each: against the textbook form in float64, relative to the largest value.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from turns import DEVICE, in_turns, make_on_device, ratio
from turns import peak as above

from mmssl.cli.options import run_tool, select_by_prefix
from mmssl.functional import distill
from mmssl.functional.chunked import FactoredLogits
from mmssl.models.heads import DistillationHead

HOT, COLD = 0.1, 0.04
WIDTH = 256
Found = tuple[Tensor, list[Tensor]]  # loss and gradients


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
        student = [x.detach().double().requires_grad_() for x in self.student]
        weight = self.weights[0].detach().double().requires_grad_()
        return self._replace(
            student=student,
            teacher=[x.double() for x in self.teacher],
            weights=(weight, self.weights[1].double()),
            center=self.center.double(),
        )


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


CASES: dict[str, Callable[[int], list[Task]]] = {
    'EsViT Swin, views and regions, 65,536': lambda batch: [
        task(65536, batch, [0] * 10),
        task(65536, batch, [49] * 2 + [9] * 8),
    ],
    'DINO, 65,536': lambda batch: [task(65536, 4 * batch, [0] * 10)],
    'iBOT and SERE, 8,192': lambda batch: [
        task(8192, 2 * batch, [0] * 12),
        task(8192, 2 * batch, [196] * 2, mask=0.15),
    ],
}


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


def in_blocks(t: Task, block: int) -> Tensor:
    """The same through our head."""
    head = DistillationHead(t.center.shape[1], HOT)
    head.center = t.center
    views = (t.student, t.teacher)
    student, teacher = (
        [FactoredLogits(x, w, block) for x in side]
        for side, w in zip(views, t.weights, strict=True)
    )
    if t.mask is not None:
        return head.masked(student, teacher, t.mask, COLD)
    return head(student, teacher, COLD, t.matches)


def run(tasks: list[Task], form: Callable[[Task], Tensor]) -> Found:
    """Forward and backward of the mean over tasks."""
    inputs = [x for t in tasks for x in t.inputs()]
    for x in inputs:
        x.grad = None
    loss = torch.stack([form(t) for t in tasks]).mean()
    loss.backward()
    return loss.detach(), [x.grad for x in inputs if x.grad is not None]


def peak(tasks: list[Task], form: Callable[[Task], Tensor]) -> float:
    """MB above inputs and weight gradients."""
    for x in (x for t in tasks for x in t.inputs()):
        x.grad = None
    return above(partial(run, tasks, form)) - sum(t.weights[0].nbytes for t in tasks) / 1e6


def error(found: Found, exact: Found) -> str:
    """Largest relative errors of loss and gradients."""
    pairs = zip(found[1], exact[1], strict=True)
    loss = float((found[0].double() - exact[0]).abs() / exact[0])
    grads = max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)
    return f'{loss:.0e}, {grads:.0e}'


def compare(tasks: list[Task], block: int, rounds: int) -> list[str]:
    """Return the cells of a case."""
    forms = {'textbook': textbook, 'blocked': lambda t: in_blocks(t, block)}
    seconds = in_turns({name: partial(run, tasks, form) for name, form in forms.items()}, rounds)
    found = {name: run(tasks, form) for name, form in forms.items()}
    exact = run([t.double() for t in tasks], textbook)
    errors = [error(found[name], exact) for name in forms]
    memory = {name: peak(tasks, form) for name, form in forms.items()}
    return [
        *(f'{statistics.median(seconds[name]):.2f}' for name in forms),
        ratio(seconds['blocked'], seconds['textbook']),
        *(f'{memory[name]:.0f}' for name in forms),
        f'1/{memory["textbook"] / memory["blocked"]:.0f}',
        *errors,
    ]


COLUMNS = (
    *('loss', 's, textbook', 's, blocked', 'ratio', 'MB, textbook', 'MB, blocked', 'ratio'),
    *('error, textbook', 'error, blocked'),
)


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--batch', type=int, default=4, help='images; DINO takes 4 and iBOT 2 times as many'
    )
    parser.add_argument('--block', type=int, default=1024, help='prototypes at a time')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--cases', nargs='+', default=list(CASES), help='beginnings of names')
    args = parser.parse_args(argv)
    make_on_device()
    chosen = select_by_prefix('--cases', args.cases, CASES)
    table, rows = Table(*COLUMNS), []
    for name in chosen:
        torch.manual_seed(0)
        rows.append([name, *compare(CASES[name](args.batch), args.block, args.rounds)])
        table.add_row(*rows[-1])
    console = Console(width=150)
    console.print(table)
    threads = torch.get_num_threads()
    console.print(
        f'batch {args.batch}, float32, {DEVICE}, {threads} threads, torch {torch.__version__}'
    )
    return rows


if __name__ == '__main__':
    run_tool(main)
