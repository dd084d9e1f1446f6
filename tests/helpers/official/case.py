"""Shared parts of the oracles: state, optimizers, clipping, and the files of a case."""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Block = dict[str, Any]
State = dict[str, Tensor]


class Official:
    """One official code: its networks (``net``), its optimizer and its step.

    A subclass builds ``net`` in the official layout and writes `step`, `checkpoint` and `used`.
    """

    net: Any  # an nn.Module whose parts have the official names, which no class declares

    def __init__(self, block: Block, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.block = block
        self.net = self.build().double().train()
        vary(self.net)
        self.optimizer = self.make_optimizer()

    def build(self) -> nn.Module:
        """Make the networks."""
        raise NotImplementedError

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Make the optimizer with its groups."""
        raise NotImplementedError

    def used(self, at: int) -> dict[str, float]:
        """Return the values of the schedules at iteration ``at``."""
        raise NotImplementedError

    def step(self, batch: State, at: int) -> State:
        """Train one iteration; return what is recorded of it."""
        raise NotImplementedError

    def checkpoint(self) -> dict[str, Any]:
        """Return the content of the file, as it stands now."""
        raise NotImplementedError

    def batch(self) -> State:
        """Draw the views (B, 3, H, W) of one step."""
        views = self.block['views']
        sizes = enumerate(views['sizes'])
        return {f'view_{i}': torch.randn(views['batch'], 3, s, s) for i, s in sizes}

    def views(self, batch: State) -> list[Tensor]:
        """Return the views as float64."""
        return [batch[f'view_{i}'].double() for i in range(len(self.block['views']['sizes']))]


def record(official: Official, folder: Path, change: Callable[[State], None] | None = None) -> Path:
    """Train a little, write the checkpoint, one batch and what the step makes of it.

    ``change`` may edit the batch. Everything before the step is representable in float32.
    """
    at = official.block['clock']['step']
    for before in (2, 1):
        official.step(official.batch(), max(at - before, 0))
    if official.block['optimizer']['state'] == 'fresh':
        official.optimizer = official.make_optimizer()
    halve_precision(official)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(as_float32(official.checkpoint()), folder / 'official.pth')
    batch = official.batch()
    if change is not None:
        change(batch)
    save_file({k: v.contiguous() for k, v in batch.items()}, folder / 'batch.safetensors')
    used = official.used(at)
    expect = official.step(batch, at)
    save_file({k: v.clone().contiguous() for k, v in expect.items()}, folder / 'expect.safetensors')
    case = dict(kind='step', replay=dict(official.block, used=used))
    (folder / 'case.json').write_text(json.dumps(case))
    return folder


def restore(official: Official, content: dict[str, Any]) -> None:
    """Put the tensors of a file in the official layout into networks and optimizer."""
    net = official.net
    if 'student' in content:
        for side in ('student', 'teacher'):
            names = {k.removeprefix('module.'): v for k, v in content[side].items()}
            getattr(net, side).load_state_dict(names)
        centres = content.get('dino_loss') or content['ibot_loss']
        net.load_state_dict({k: v for k, v in centres.items() if hasattr(net, k)}, strict=False)
    else:
        entries = content.get('model') or content['state_dict']
        names = {k.removeprefix('module.'): v for k, v in entries.items()}
        net.load_state_dict({k: v for k, v in names.items() if 'attn_mask' not in k})
    official.optimizer.load_state_dict(content['optimizer'])


@torch.no_grad()
def halve_precision(official: Official) -> None:
    """Round networks and optimizer state to float32, kept in float64."""
    tensors = [*official.net.parameters(), *official.net.buffers()]
    for entries in official.optimizer.state.values():
        tensors += [v for v in entries.values() if isinstance(v, Tensor)]
    for tensor in tensors:
        if tensor.dtype == torch.float64:
            tensor.copy_(tensor.float())


def as_float32(value: Any) -> Any:
    """Copy nested content with its float64 tensors stored as float32."""
    if isinstance(value, Tensor):
        return value.detach().float() if value.dtype == torch.float64 else value.detach().clone()
    if isinstance(value, dict):
        return type(value)((k, as_float32(v)) for k, v in value.items())
    if isinstance(value, list):
        return [as_float32(v) for v in value]
    return value


@torch.no_grad()
def vary(net: nn.Module) -> None:
    """Move norms, biases and running statistics off their initial values."""
    for name, p in net.named_parameters():
        if p.requires_grad and (p.ndim == 1 or name.endswith('weight_g')):
            p.add_(0.2 * torch.randn_like(p))
    for name, buffer in net.named_buffers():
        if name.endswith(('running_mean', 'running_var')):
            buffer.add_(torch.rand_like(buffer))


# what is recorded ---------------------------------------------------------------------------------
def gradients(net: nn.Module, prefix: str = 'grad.') -> State:
    """Copy every gradient, by official name."""
    return {prefix + n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}


def state(net: nn.Module, prefix: str = 'after.') -> State:
    """Copy parameters and buffers, without what windows are made of."""
    kept = {k: v for k, v in net.state_dict().items() if 'relative_position_index' not in k}
    return {prefix + k: v.clone() for k, v in kept.items()}


# teachers, clipping, groups -----------------------------------------------------------------------
@torch.no_grad()
def move(student: nn.Module, teacher: nn.Module, m: float) -> None:
    """Let the teacher's parameters follow, by name."""
    own = dict(student.named_parameters())
    for name, p in teacher.named_parameters():
        if name in own:
            p.copy_(p * m + own[name] * (1 - m))


@torch.no_grad()
def clip_each(net: nn.Module, limit: float) -> None:
    """Clip the gradient of every tensor on its own."""
    for p in net.parameters():
        if p.grad is not None:
            share = limit / (p.grad.norm() + 1e-6)
            if share < 1:
                p.grad.mul_(share)


def clip_whole(net: nn.Module, limit: float) -> Tensor:
    """Clip all gradients by their joint norm; return it."""
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in grads]).norm()
    share = limit / (norm + 1e-6)
    for g in grads:
        g.mul_(share.clamp(max=1))
    found: Tensor = norm
    return found


def adamw(net: nn.Module, decayed: Callable[[str, Tensor], bool], block: Block) -> Any:
    """AdamW with the decayed tensors first, then the others."""
    trained = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        dict(params=[p for n, p in trained if decayed(n, p)]),
        dict(params=[p for n, p in trained if not decayed(n, p)], weight_decay=0.0),
    ]
    o = block['optimizer']
    return torch.optim.AdamW(groups, lr=1.0, betas=o['betas'], eps=o['eps'])


DECAYED: dict[str, Callable[[str, Tensor], bool]] = {
    'all': lambda n, p: True,
    'not_1d_nor_bias': lambda n, p: p.ndim > 1 and not n.endswith('.bias'),
    'not_1d_unless_bias': lambda n, p: n.endswith('.bias') or p.ndim > 1,
}


class LARS(torch.optim.Optimizer):
    """MoCo v3's: trust ratio and decay for tensors of more than one dimension."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every parameter."""
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is None:
                    continue
                d = p.grad
                if p.ndim > 1:
                    d = d + group['weight_decay'] * p
                    ratio = group['trust_coefficient'] * p.norm() / d.norm()
                    d = d * (ratio if p.norm() > 0 and d.norm() > 0 else 1.0)
                mu = self.state[p].setdefault('mu', torch.zeros_like(p))
                mu.mul_(group['momentum']).add_(d)
                p.add_(mu, alpha=-group['lr'])


# schedules ----------------------------------------------------------------------------------------
def half_cosine(start: float, final: float, share: float) -> float:
    """Fall from start to final."""
    return final + 0.5 * (start - final) * (1 + math.cos(math.pi * share))


def dino_schedule(c: Block, at: int, block: Block) -> float:
    """One entry of DINO's array: linspace to the base, then a cosine."""
    n, epochs = block['clock']['steps_per_epoch'], block['clock']['epochs']
    start: float = c['base'] if 'base' in c else c['start']
    rise = c.get('warmup_epochs', 0) * n
    if at < rise:
        low = c.get('warmup_start', 0.0)
        found: float = low + (start - low) * at / (rise - 1)
        return found
    return half_cosine(start, c['final'], (at - rise) / (epochs * n - rise))


def teacher_temp(c: Block, at: int, block: Block) -> float:
    """One entry of the temperature list: constant, linspace, constant."""
    epoch = at // block['clock']['steps_per_epoch'] - c.get('epochs_at_start_first', 0)
    rise = c['warmup_epochs']
    if epoch < 0:
        found: float = c['start']
        return found
    if epoch >= rise:
        found = c['final']
        return found
    found = c['start'] + (c['final'] - c['start']) * epoch / max(rise - 1, 1)
    return found


SCALER = dict(scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000)
ARGS = argparse.Namespace(arch='tiny', gpu=0, opts=['A', 1], scale=(0.4, 1.0))
