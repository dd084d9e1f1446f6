"""Whole trainings in forked processes, which pay for no import, and what they leave."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmssl.apis import load_config
from mmssl.cli.options import run_tool
from mmssl.cli.subprocess_tools import REPO
from mmssl.datasets.shapes import draw_object
from mmssl.engine import Runner
from mmssl.engine.state import work_dir_files

PARENT = os.getpid()  # a forked process that ends passes through the parent's functions
IMAGES, BATCH, EPOCHS = 24, 4, 2


def make_data(root: Path) -> None:
    """Draw a few pictures."""
    folder = root / 'train' / 'shape'
    folder.mkdir(parents=True)
    for i in range(IMAGES):
        image, _ = draw_object(0, i, i % 8)
        Image.fromarray(image).save(folder / f'{i}.png')


def recipe(method: str) -> Path:
    """Return the method's comparison recipe."""
    return next((REPO / 'configs/compare').glob(f'{method}_vit-conv_*_shapes.py'))


def config(method: str, data: Path, **options: Any) -> Any:
    """The comparison recipe with a shallow network, few images, and random depth."""
    shrink = {
        'data_root': str(data),
        'model.backbone.arch': (64, 1, 4),
        'model.backbone.drop_path_rate': 0.3,
        'train_dataloader.batch_size': BATCH,
        'train_dataloader.num_workers': 2,
        'train_cfg.max_epochs': EPOCHS,
        'param_scheduler.0.warmup': 0,
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        'default_hooks.checkpoint.iterations': 2,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': 1,
    }
    cfg = load_config(recipe(method), shrink | options)
    cfg.launcher, cfg.resume = 'none', True
    return cfg


def run(cfg: Any, work: Path, hooks: Sequence[Any] = (), rank: int = 0, world: int = 1) -> int:
    """Fork a process that trains; its words go to work/out.RANK."""
    work.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    os.setsid()
    out = os.open(work / f'out.{rank}', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    cfg.work_dir, cfg.experiment_name = str(work), f'{work.name}-{os.getpid()}'
    if world > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
        cfg.launcher = 'pytorch'

    def main(_: Any) -> None:
        runner = Runner.from_cfg(cfg)
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()

    run_tool(main)
    sys.exit(0)  # out of all functions: this interpreter ends as any other


def wait(child: int, limit: float = 300.0) -> int:
    """Return the exit status of a child."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f'process {child} did not end in {limit:.0f} s')


def same(a: Any, b: Any) -> bool:
    """Whether two nested contents agree in every bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def same_end(first: Path, second: Path) -> bool:
    """Whether two runs ended in the same model, optimizer, progress and generators."""
    ends = [work_dir_files.open_training(f / f'epoch_{EPOCHS}.pth') for f in (first, second)]
    keys = ('state_dict', 'optimizer', 'progress', 'random')
    return same(*([end[key] for key in keys] for end in ends))
