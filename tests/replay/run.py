"""A whole run from an official file, through config, runner, hooks and loop."""

import atexit
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from safetensors.torch import load_file
from torch import Tensor

from mmssl.config.defaults import DEFAULTS
from mmssl.core.io import unwrap_model
from mmssl.engine import Runner
from mmssl.replay import Record, TraceHook
from mmssl.replay.trace import Step

from ..helpers.ranks import Ranks
from . import cases, settings
from .names import optimizer_entries

Block = dict[str, Any]
Options = dict[str, Any]
# the official program shares the statistics of batch norms between processes
ALONE = ('mocov2',)
HOOKS = ('checkpoint', 'runtime_info', 'timer', 'sampler_seed', 'param_scheduler')


class Outcome(NamedTuple):
    """What a run leaves on one process: a trace, and tensors by official name."""

    trace: list[Step]
    final: dict[str, Tensor]
    curves: dict[str, list[float]]


def batches(block: Block, stored: dict[str, Tensor], first: int) -> list[dict[str, Any]]:
    """Return the recorded batches of all processes, from step ``first`` of the whole run on."""
    found = []
    count = 1 + max(int(key.split('.')[0].removeprefix('step')) for key in stored)
    for step in range(first, count):
        parts = {
            key.partition('.')[2]: value
            for key, value in stored.items()
            if key.startswith(f'step{step}.')
        }
        views = [parts[f'view_{i}'].double() / 32 for i in range(len(block['views']['sizes']))]
        samples = {}
        for kind in ('mask', 'box'):
            names = sorted((k for k in parts if k.startswith(f'{kind}_')), key=_number)
            if names:
                samples[kind] = torch.stack([parts[name] for name in names], 1)
        found.append(dict(inputs=views, data_samples=samples))
    return found


def _number(name: str) -> int:
    return int(name.rpartition('_')[2])


def write_views(block: Block, folder: Path, file: Path) -> None:
    """Write the views of a case as a record of its whole run."""
    run = block['run']
    first = run.get('continue_at', 0) * run['steps_per_epoch']
    recorded = batches(block, load_file(folder / 'batch.safetensors'), first)
    per_step = run['batch'] * run['world']
    progress = dict(iter=first, batch=per_step, per_epoch=run['steps_per_epoch'])
    trace = [Step({}) for _ in recorded]
    Record(dict(progress=progress), recorded, trace, {}).write(file)


def config(block: Block, folder: Path, views: Path, work_dir: Path, options: Options) -> Config:
    """Return the config of a run as a user would write it."""
    run = block['run']
    wrapper, rules = settings.optimizer(block)
    wrapper |= dict(
        constructor='ParamGroupConstructor',
        paramwise_cfg=dict(rules=rules),
        accumulative_counts=run.get('accumulate', 1),
    )
    cfg = Config(
        dict(
            DEFAULTS,
            model=cases.model(block),
            dtype='float64',
            train_dataloader=dict(
                batch_size=run['batch'],
                num_workers=0,
                drop_last=True,
                sampler=dict(type='EpochSampler', shuffle=False, even=True),
                dataset=dict(type='RecordedViews', file=str(views)),
            ),
            train_cfg=dict(type='EpochLoop', max_epochs=run['epochs'], val_interval=run['epochs']),
            optim_wrapper=wrapper,
            param_scheduler=settings.schedules(block),
            sync_bn=None if run['world'] == 1 or block['method'] in ALONE else 'torch',
            load_from=str(folder / 'official.pth'),
            continue_epoch='continue_at' in run,
            randomness=dict(seed=run['seed']),
            work_dir=str(work_dir),
            experiment_name=str(work_dir),  # mmengine keeps one logger for each
            launcher='none' if run['world'] == 1 else 'pytorch',
            log_level='ERROR',
        )
    )
    hooks = {k: v if k in HOOKS else None for k, v in DEFAULTS['default_hooks'].items()}
    cfg.default_hooks = dict(hooks, checkpoint=dict(type='CheckpointHook', interval=1))
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    cfg.merge_from_dict(options)
    return cfg


class FillHook(Hook):
    """Give both region heads, which an official file of views lacks, the program's start."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    @torch.no_grad()
    def before_train(self, runner: Runner) -> None:
        """Copy them."""
        state = unwrap_model(runner.model).state_dict()
        for key, value in self.tensors.items():
            for branch in ('student', 'teacher'):
                state[f'{branch}.neck.region.{key}'].copy_(value)


def train(
    block: Block, folder: Path, views: Path, work_dir: Path, options: Options, resume: str = ''
) -> Outcome:
    """Train a case, from its official file or from a training file of ours."""
    given = dict(options, resume=True, load_from=resume) if resume else options
    runner = Runner.from_cfg(config(block, folder, views, work_dir, given))
    start = folder / 'region_start.safetensors'
    if start.is_file() and not resume:
        runner.register_hook(FillHook(load_file(start)))
    hook = TraceHook(tensors=False, joined=False)
    runner.register_hook(hook)
    runner.train()
    model = unwrap_model(runner.model)
    state = {n: v.detach().clone() for n, v in model.state_dict().items()}
    for name, key, value in optimizer_entries(model, runner.optim_wrapper.optimizer):
        state[f'optimizer.{name}.{key}'] = torch.as_tensor(value).detach().clone()
    return Outcome(hook.trace, state, curves(runner, block))


def curves(runner: Runner, block: Block) -> dict[str, list[float]]:
    """Return the schedules of every step of the whole run."""
    total = block['run']['epochs'] * block['run']['steps_per_epoch']
    found = {
        scheduler.param_name: [scheduler.value(step) for step in range(total)]
        for scheduler in runner.param_schedulers
    }
    model = unwrap_model(runner.model)
    per_epoch = block['run']['steps_per_epoch']
    for name, schedule in model.schedules().items():
        found[name] = [schedule.value_at(step, total, per_epoch) for step in range(total)]
    return found


def train_all(train: Callable[..., Outcome], world: int, *args: Any) -> list[Outcome]:
    """Train a case on each of its processes; return their outcomes in the order of the ranks.

    ``train`` is `train` of this module or of `plain_loop`, ``args`` are its arguments.
    """
    return [train(*args)] if world == 1 else list(processes(world)(train, *args))


@cache
def processes(world: int) -> Ranks:
    """Return processes that serve all runs of so many, until the interpreter ends."""
    ranks = Ranks(world)
    atexit.register(ranks.stop)
    return ranks
