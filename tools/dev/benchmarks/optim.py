"""Time the update of the parameters after the backward pass, against a loop over them.

Parameter lists are those of the published networks. Printed: milliseconds of the loop as official
codes write it and of ours (medians), the median of the rounds' ratios (ours / loop) and their
range. That the results are equal is what the tests of the engine show.
"""

import argparse
import copy
import itertools
import statistics
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from turns import DEVICE, in_turns, make_on_device, ratio

from mmssl.cli.options import run_tool, select_by_prefix
from mmssl.engine import ParamGroupConstructor
from mmssl.engine.optim.wrapper import clip_each
from mmssl.models.teacher import update_teacher
from mmssl.registry import MODELS

NETWORKS = {
    'ResNet-50': dict(type='ResNet', depth=50),
    'ViT-S/16': dict(type='VisionTransformer', arch='small'),
    'Swin-T': dict(type='SwinTransformer', arch='tiny'),
}
Step = Callable[[], None]
Pair = tuple[Step, Step]


def ours(net: nn.Module, **optimizer: object) -> Step:
    """Step of an optimizer as training builds it."""
    cfg = dict(type='OptimWrapper', optimizer=dict(optimizer, weight_decay=0.05))
    return ParamGroupConstructor(cfg)(net).optimizer.step  # type: ignore[no-any-return]


def teacher(net: nn.Module, other: nn.Module) -> Pair:
    """EMA of every parameter."""

    @torch.no_grad()
    def loop() -> None:
        for p, q in zip(net.parameters(), other.parameters(), strict=True):
            q.mul_(0.99).add_(p, alpha=0.01)

    return loop, lambda: update_teacher(net, other, 0.99)


def clip(net: nn.Module, other: nn.Module, long: bool = True) -> Pair:
    """Bound every tensor's gradient, when all exceed the limit or none does."""
    limits = [(2.0**-n if long else 1e9 for n in itertools.count()) for _ in (0, 1)]

    @torch.no_grad()
    def loop() -> None:
        limit = next(limits[0])
        for p in net.parameters():
            share = limit / (p.grad.norm(2) + 1e-6)
            if share < 1:
                p.grad.mul_(share)

    parameters = list(other.parameters())
    return loop, lambda: clip_each(parameters, next(limits[1]))


def lars(net: nn.Module, other: nn.Module, larc: bool = False) -> Pair:
    """The paper's update with the norm of the decayed gradient, or of the gradient (LARC)."""
    buffers = {p: torch.zeros_like(p) for p in net.parameters()}

    @torch.no_grad()
    def loop() -> None:
        for p, buffer in buffers.items():
            d, w = p.grad.add(p, alpha=0.05), p.norm(2)
            g = p.grad.norm(2) if larc else d.norm(2)
            if w > 0 and g > 0:
                d.mul_(0.001 * w / (g + 0.05 * w + 1e-8 if larc else g))
            else:
                d = p.grad if larc else d
            buffer.mul_(0.9).add_(d)
            p.add_(buffer, alpha=-0.1)

    return loop, ours(other, type='LARC' if larc else 'LARS', lr=0.1)


def adamw(net: nn.Module, other: nn.Module) -> Pair:
    """Torch's loop and its fused kernel."""
    loop = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05, foreach=False)
    return loop.step, ours(other, type='AdamW', lr=1e-3)


TASKS: dict[str, Callable[[nn.Module, nn.Module], Pair]] = {
    'teacher': teacher,
    'clip each, all long': clip,
    'clip each, none': lambda net, other: clip(net, other, long=False),
    'LARS': lars,
    'LARC': lambda net, other: lars(net, other, larc=True),
    'AdamW': adamw,
}


def compare(task: str, network: str, rounds: int) -> list[str]:
    """Return the cells of one task and network."""
    torch.manual_seed(0)
    net = MODELS.build(NETWORKS[network])
    other = copy.deepcopy(net)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    forms = dict(zip(('loop', 'ours'), TASKS[task](net, other), strict=True))
    loop, mine = in_turns(forms, rounds).values()  # the first call, uncounted, makes state
    return [
        task,
        network,
        *(f'{1000 * statistics.median(taken):.1f}' for taken in (loop, mine)),
        ratio(mine, loop),
    ]


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure, print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--networks', nargs='+', default=list(NETWORKS), help='beginnings of names')
    args = parser.parse_args(argv)
    make_on_device()
    chosen = select_by_prefix('--networks', args.networks, NETWORKS)
    table, rows = Table('task', 'network', 'ms, loop', 'ms, ours', 'ratio'), []
    for task in TASKS:
        for network in chosen:
            rows.append(compare(task, network, args.rounds))
            table.add_row(*rows[-1])
    console = Console(width=100)
    console.print(table)
    threads = torch.get_num_threads()
    console.print(
        f'float32, {args.rounds} rounds, {DEVICE}, {threads} threads, torch {torch.__version__}'
    )
    return rows


if __name__ == '__main__':
    run_tool(main)
