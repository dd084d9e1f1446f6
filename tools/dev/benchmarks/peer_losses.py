"""Losses of three methods beside lightly's, on the same features, prototypes and negatives.

DINO  2 + 8 views of 16 images, 65,536 prototypes, from bottleneck features and prototype weights
SwAV  2 + 6 crops of 64 images, 3,000 prototypes, from unit embeddings, codes included
MoCo  256 queries, 65,536 negatives; the queue takes the keys in

Printed: median seconds of forward and backward, the rounds' ratios (ours / lightly), peak MB above
the inputs, both losses. lightly is no requirement: the head of peers.py makes an environment.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from losses import COLD, HOT, in_blocks, task, unit
from peers import missing
from rich.console import Console
from rich.table import Table
from torch import Tensor
from turns import DEVICE, in_turns, make_on_device, peak, ratio

from mmssl.cli.options import run_tool
from mmssl.functional import contrast
from mmssl.models.heads import SwAVHead
from mmssl.models.queue import Queue

Loss = Callable[[], Tensor]
Case = tuple[list[Tensor], Loss, Loss]  # what gets gradients, ours, lightly's


def dino() -> Case:
    """The blocked loss against one over all scores."""
    from lightly.loss import DINOLoss

    t = task(65536, 16, [0] * 10)
    theirs = DINOLoss(65536, teacher_temp=COLD, student_temp=HOT)

    def lightly() -> Tensor:
        theirs.center = t.center[None]
        with torch.no_grad():
            targets = [x @ t.weights[1].T for x in t.teacher]
        return theirs(targets, [x @ t.weights[0].T for x in t.student])

    return t.inputs(), lambda: in_blocks(t, 1024), lightly


def swav() -> Case:
    """Swapped prediction without a memory."""
    from lightly.loss import SwaVLoss

    head, theirs = SwAVHead(), SwaVLoss()
    crops = [unit(64, 128).requires_grad_() for _ in range(8)]

    def lightly() -> Tensor:
        scores = head.prototypes(torch.cat(crops)).split(64)
        return theirs(scores[:2], scores[2:])

    return [*crops, head.prototypes.weight], lambda: head(crops, 0), lightly


def moco() -> Case:
    """InfoNCE with a queue."""
    from lightly.loss import NTXentLoss

    queue, theirs = Queue(128, 65536), NTXentLoss(0.2, (65536, 128))
    q, k = unit(256, 128).requires_grad_(), unit(256, 128)
    theirs.memory_bank.bank.copy_(queue.bank0.T)

    def ours() -> Tensor:
        queue.end_step()  # of the step before: this one's backward still needs the negatives
        loss = contrast.info_nce(q, k, 0.2, queue()[0])
        queue.push(k)
        return loss

    return [q], ours, lambda: theirs(q, k)


CASES = dict(DINO=dino, SwAV=swav, MoCo=moco)


def trained(inputs: list[Tensor], loss: Loss) -> Loss:
    """Forward and backward of a loss."""

    def run() -> Tensor:
        for x in inputs:
            x.grad = None
        value = loss()
        value.sum().backward()
        return value.detach().sum()

    return run


def compare(name: str, rounds: int) -> list[str]:
    """Return the cells of a case."""
    torch.manual_seed(0)
    inputs, *losses = CASES[name]()
    forms = {n: trained(inputs, f) for n, f in zip(('ours', 'lightly'), losses, strict=True)}
    values, peaks = [], []
    for form in forms.values():
        for x in inputs:
            x.grad = None
        peaks.append(f'{peak(lambda form=form: values.append(f"{form():.6f}")):.0f}')
    taken = in_turns(forms, rounds)
    middle = [f'{statistics.median(times):.3f}' for times in taken.values()]
    return [name, *middle, ratio(taken['ours'], taken['lightly']), *peaks, *values]


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args(argv)
    make_on_device()
    try:
        import lightly
    except ImportError as error:
        raise missing('lightly', error) from None
    columns = ('s, ours', 's, lightly', 'ratio', 'MB, ours', 'MB, lightly', 'loss', 'loss, lightly')
    table, rows = Table('loss of', *columns), []
    for name in CASES:
        rows.append(compare(name, args.rounds))
        table.add_row(*rows[-1])
    console = Console(width=120)
    console.print(table)
    threads = torch.get_num_threads()
    console.print(
        f'float32, {DEVICE}, {threads} threads, torch {torch.__version__}, '
        f'lightly {lightly.__version__}'
    )
    return rows


if __name__ == '__main__':
    run_tool(main)
