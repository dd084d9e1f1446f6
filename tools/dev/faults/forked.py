"""Whole trainings in forked processes, which pay for no import, and what they leave."""

import json
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
IMAGES, BATCH, EPOCHS, CLASSES = 24, 4, 2, 4
NO_MONITOR = dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator'))
MONITOR = {
    'train_cfg.val_interval': 1,
    'val_cfg.k': (5,),
    'val_dataloader.batch_size': 8,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.save_best': 'knn/top1',
}


def make_data(root: Path) -> None:
    """Draw a few pictures of each class, to train on and to measure by."""
    for split, first, count in (('train', 0, IMAGES), ('val', IMAGES, 8)):
        for i in range(first, first + count):
            folder = root / split / f'class{i % CLASSES}'
            folder.mkdir(parents=True, exist_ok=True)
            image, _ = draw_object(0, i, i % CLASSES)
            Image.fromarray(image).save(folder / f'{i}.png')


def recipe(method: str) -> Path:
    """Return the method's comparison recipe."""
    return next((REPO / 'configs/compare').glob(f'{method}_vit-conv_*_shapes.py'))


def config(method: str, data: Path, monitor: bool = False, **options: Any) -> Any:
    """The comparison recipe with a shallow network, few images, and random depth.

    ``monitor`` measures kNN at the start and after each epoch, and keeps the best file.
    """
    shrink = {
        'data_root': str(data),
        'model.backbone.arch': (64, 1, 4),
        'model.backbone.drop_path_rate': 0.3,
        'train_dataloader.batch_size': BATCH,
        'train_dataloader.num_workers': 2,
        'train_cfg.max_epochs': EPOCHS,
        'param_scheduler.0.warmup': 0,
        **(MONITOR if monitor else NO_MONITOR),
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


def same_file(first: Path, second: Path, name: str) -> bool:
    """Whether two runs have the same model, optimizer, progress and generators in a file."""
    both = [work_dir_files.open_training(folder / name) for folder in (first, second)]
    keys = ('state_dict', 'optimizer', 'progress', 'random')
    return same(*([content[key] for key in keys] for content in both))


def validations(work: Path) -> dict[int, set[tuple[tuple[str, float], ...]]]:
    """Return what each validation of a run has measured: {epoch: figures of all its starts}."""
    found: dict[int, set[tuple[tuple[str, float], ...]]] = {}
    for file in work.glob('*/vis_data/scalars.json'):
        for text in file.read_text().splitlines():
            line = json.loads(text)
            figures = tuple(sorted((k, v) for k, v in line.items() if k.startswith('knn/')))
            if figures:
                found.setdefault(line['step'], set()).add(figures)
    return found
