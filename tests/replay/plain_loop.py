"""A whole run from an official file by a plain loop over the method, without config and runner."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmssl.checkpoint import load
from mmssl.core import dist
from mmssl.core.sync_bn import convert_sync_bn
from mmssl.optim import Recipe
from mmssl.registry import MODELS
from mmssl.replay.trace import Step

from . import cases, settings
from .names import optimizer_entries
from .run import ALONE, Block, Options, Outcome, batches


def recipe(block: Block) -> Recipe:
    """Return the recipe of a case."""
    wrapper, rules = settings.optimizer(block)
    run = block['run']
    return Recipe(
        wrapper['optimizer'],
        rules,
        settings.schedules(block),
        wrapper['clip_grad'],
        epochs=run['epochs'],
        steps_per_epoch=run['steps_per_epoch'],
    )


def train(
    block: Block, folder: Path, views: Path, work_dir: Path, options: Options, resume: str = ''
) -> Outcome:
    """Train a case from its official file, or from a file that `_save` has written.

    The loop is that of ``docs/examples``; what it would print is kept.
    """
    run, world = block['run'], block['run']['world']
    method: Any = MODELS.build(cases.model(block)).double().train()
    method.recipe = recipe(block)
    first = run.get('continue_at', 0) * run['steps_per_epoch']
    recorded = batches(block, load_file(folder / 'batch.safetensors'), first)
    load(method, folder / 'official.pth', verbose=False)
    _fill_regions(method, folder)
    if world > 1 and block['method'] not in ALONE:
        method = convert_sync_bn(method, 'cpu')
    optimizer = method.build_optimizer()
    start = first
    dist.seed_streams(run['seed'])  # drop path
    if resume:
        content = torch.load(resume, weights_only=True)
        torch.set_rng_state(content['random'][dist.rank()])
        method.load_state_dict(content['method'])
        optimizer.load_state_dict(content['optimizer'])
        start = content['step']
    model: Any = method
    if world > 1:
        model = nn.parallel.DistributedDataParallel(method, broadcast_buffers=False)
    accumulate, per_epoch = run.get('accumulate', 1), run['steps_per_epoch']
    trace: list[Step] = []
    for step, batch in enumerate(recorded[start - first :], start):
        within = step % per_epoch
        begins, ends = within % accumulate == 0, (within + 1) % accumulate == 0
        method.begin_step(step, optimizer, starts_update=begins)
        mine = dict(
            inputs=[view[dist.rank() :: world] for view in batch['inputs']],
            data_samples={k: v[dist.rank() :: world] for k, v in batch['data_samples'].items()},
        )
        with nullcontext() if ends or world == 1 else model.no_sync():
            losses = model(**mine, mode='loss')
            (losses['loss'] / accumulate).backward()
        trace.append(Step(_values(method, optimizer, losses)))
        if ends:
            method.clip_gradients()
            optimizer.step()
            optimizer.zero_grad()
            method.end_step()
        elif within == per_epoch - 1:  # an update does not go over the end of an epoch
            optimizer.zero_grad()
            method.drop_incomplete()
        if (step + 1) % per_epoch == 0:
            _save(method, optimizer, step + 1, work_dir / f'epoch_{(step + 1) // per_epoch}.pth')
    state = {n: v.detach().clone() for n, v in method.state_dict().items()}
    for name, key, value in optimizer_entries(method, optimizer):
        state[f'optimizer.{name}.{key}'] = torch.as_tensor(value).detach().clone()
    return Outcome(trace, state, _curves(method, block))


def _save(method: Any, optimizer: Any, step: int, path: Path) -> None:
    """Write what a run needs to go on; every process has random numbers of its own."""
    random = dist.gather_objects(torch.get_rng_state())
    if dist.rank() == 0:
        path.parent.mkdir(exist_ok=True)
        state = dict(method=method.state_dict(), optimizer=optimizer.state_dict())
        torch.save(dict(state, step=step, random=random), path)


@torch.no_grad()
def _fill_regions(method: Any, folder: Path) -> None:
    """Give both region heads, which an official file of views lacks, the program's start."""
    start = folder / 'region_start.safetensors'
    if start.is_file():
        for key, value in load_file(start).items():
            for branch in ('student', 'teacher'):
                method.state_dict()[f'{branch}.neck.region.{key}'].copy_(value)


def _values(method: Any, optimizer: Any, losses: dict[str, Tensor]) -> dict[str, float]:
    """Return losses, rates and the norm of the gradients of a step."""
    groups = optimizer.param_groups
    grads = [p.grad.flatten() for p in method.parameters() if p.grad is not None]
    found = {name: float(value.detach()) for name, value in losses.items()}
    found |= {name: s.value_at(*method.progress) for name, s in method.schedules().items()}
    decays = [group['weight_decay'] for group in groups]
    found |= dict(lr=max(g['lr'] for g in groups), grad_norm=float(torch.cat(grads).norm()))
    return found | dict(weight_decay=max(decays), smallest_weight_decay=min(decays))


def _curves(method: Any, block: Block) -> dict[str, list[float]]:
    """Return the schedules of every step of the whole run."""
    total, per_epoch = method.recipe.length
    schedules = {s.param_name: s.schedule for s in method.recipe.schedules} | method.schedules()
    return {
        name: [schedule.value_at(step, total, per_epoch) for step in range(total)]
        for name, schedule in schedules.items()
    }
