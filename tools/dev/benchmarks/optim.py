"""The update of the parameters after the backward pass, beside a loop over them.

Parameter lists are those of the published networks; the loop is as official codes write it. That
the results are equal is what the tests of the engine show.
"""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from mmssl.engine import ParamGroupConstructor
from mmssl.models.teacher import update_teacher
from mmssl.optim import gradients
from mmssl.optim.shards import tensor_norms
from mmssl.registry import MODELS

from .timing import Builders, Comparison, make_on_device

NETWORKS = {
    'ResNet-50': dict(type='ResNet', depth=50),
    'ViT-S/16': dict(type='VisionTransformer', arch='small'),
    'Swin-T': dict(type='SwinTransformer', arch='tiny'),
}
Step = Callable[[], None]
Pair = tuple[Step, Step]  # loop, ours


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


def clip(net: nn.Module, other: nn.Module, long: bool) -> Pair:
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

    def ours() -> None:
        norms = tensor_norms(gradients.gradients(parameters)).tolist()
        gradients.clip(parameters, norms, next(limits[1]), each=True)

    return loop, ours


def lars(net: nn.Module, other: nn.Module, larc: bool) -> Pair:
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
    'clip each, all long': partial(clip, long=True),
    'clip each, none': partial(clip, long=False),
    'LARS': partial(lars, larc=False),
    'LARC': partial(lars, larc=True),
    'AdamW': adamw,
}


def beside_loop(task: str, network: str) -> Comparison:
    """A task on two equal networks with equal gradients."""
    net = MODELS.build(NETWORKS[network])
    other = copy.deepcopy(net)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    return Comparison(dict(zip(('loop', 'ours'), TASKS[task](net, other), strict=True)), ['loop'])


def comparisons() -> Builders:
    """One of each network and task."""
    make_on_device()
    return {
        f'{network}, {task}': lambda _, task=task, network=network: beside_loop(task, network)
        for network, task in itertools.product(NETWORKS, TASKS)
    }
