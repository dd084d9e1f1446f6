"""A short training that has to learn: kNN at its start and at its end."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from ..config.load import load_config
from ..core import UserError
from ..core.cores import own_cores
from .parts import Parts, expect
from .recipes import CONFIGS, make_runner, write_shapes

GAIN = 15.0  # points of kNN top-1 that a training has to gain
# images that are seen in all, at most: the recipe's 32 epochs of shapes, 40 epochs of CIFAR-10
MOST_SHAPES, MOST_IMAGES = 32 * 4096, 2_000_000
PILOT = 24  # steps whose time tells how many epochs fit
SHARE = 0.7  # of the time that is left; the rest is for starting and for kNN
SHAPES_PER_CLASS = 512


def check(parts: Parts) -> None:
    """Train for as many epochs as fit, and compare kNN before and after."""
    with parts.part('kNN before and after') as values:
        config, options = choose(parts)
        pilot = settings(config, options, epochs=1)
        images, rate = time_steps(pilot, parts.folder / 'pilot')
        most = MOST_SHAPES if parts.data is None else MOST_IMAGES
        epochs = int(min(SHARE * parts.left * rate, most) / images)
        values |= dict(images=images, images_a_second=rate, epochs=epochs)
        expect(epochs >= 2, f'{rate:.0f} images a second are too few for two epochs')
        before, after = knn_of(settings(config, options, epochs), parts.folder / 'run')
        values |= dict(before=before, after=after)
        judge(before, after)


def judge(before: float, after: float) -> None:
    """Check what was gained. Raises AssertionError for less than `GAIN` points."""
    expect(
        after >= before + GAIN,
        f'kNN top-1 {before:.1f} -> {after:.1f} %: {GAIN:.0f} points more are asked for',
    )


def choose(parts: Parts) -> tuple[Path, dict[str, Any]]:
    """Return the recipe and its options: CIFAR-10's for images of the user's, else shapes.

    Raises UserError for a folder without train/, or with neither test/ nor val/.
    """
    if parts.data is None:
        data = write_shapes(parts.folder / 'shapes', SHAPES_PER_CLASS, 64)
        return CONFIGS / 'quickstart' / 'mocov3_vit-conv_1xb64-32e_shapes.py', {
            'data_root': str(data)
        }
    split = check_data(parts.data)
    return CONFIGS / 'cifar10' / 'mocov3_resnet18_1xb512-coslr-200e_cifar10.py', {
        'data_root': str(parts.data),
        'val_dataloader.dataset.split': split,
        'val_dataloader.dataset.per_class': 200,
        'val_cfg.bank.per_class': 1000,
        'val_cfg.bank.split': 'train',
    }


def check_data(folder: Path) -> str:
    """Return the name of the split to measure on. Raises UserError for a folder without one."""
    splits = [name for name in ('test', 'val') if (folder / name).is_dir()]
    if not splits or not (folder / 'train').is_dir():
        raise UserError(
            f'--data {folder}: class folders are needed in train/ and in test/ or val/',
            key='--data',
            value=str(folder),
        )
    return splits[0]


def settings(config: Path, options: dict[str, Any], epochs: int) -> Config:
    """Return the recipe in bfloat16, its colours on the device, of ``epochs`` epochs."""
    workers = max(1, own_cores() - 1)
    warmup = max(1, epochs // 10)
    return load_config(
        config,
        {
            'optim_wrapper.amp': 'bfloat16',
            'train_dataloader.num_workers': workers,
            'train_dataloader.dataset.pipeline.1.pixels': 'device',
            'val_dataloader.num_workers': max(1, workers // 2),
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_interval': epochs,
            'train_cfg.val_at_start': True,
            'param_scheduler.0.warmup': warmup,
            'default_hooks.checkpoint.interval': epochs,
            **options,
        },
    )


class _EnoughSteps(Exception):
    """Ends the training that is only timed."""


class StepTimes(Hook):
    """Note the time after every step, and end the training after ``steps``."""

    priority = 'LOWEST'

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.times: list[float] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Note it."""
        self.times.append(time.perf_counter())
        if len(self.times) == self.steps:
            raise _EnoughSteps


def time_steps(cfg: Config, work_dir: Path) -> tuple[int, float]:
    """Return the number of images of an epoch, and images a second after the first steps."""
    cfg.train_cfg.val_at_start = False
    runner = make_runner(cfg, work_dir)
    hook = StepTimes(PILOT)
    runner.register_hook(hook)
    with suppress(_EnoughSteps):
        runner.train()
    warm = hook.times[len(hook.times) // 3 :]
    expect(len(warm) > 1, f'an epoch has {len(hook.times)} steps: too few images to time')
    seconds = warm[-1] - warm[0]
    batch = int(cfg.train_dataloader.batch_size)
    return len(runner.train_dataloader) * batch, batch * (len(warm) - 1) / seconds


class Accuracies(Hook):
    """Collect kNN top-1 of every measurement."""

    def __init__(self) -> None:
        self.top1: list[float] = []

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note it."""
        self.top1.append((metrics or {})['knn/top1'])


def knn_of(cfg: Config, work_dir: Path) -> tuple[float, float]:
    """Train; return kNN top-1 in percent at the start and at the end."""
    runner = make_runner(cfg, work_dir)
    hook = Accuracies()
    runner.register_hook(hook)
    runner.train()
    expect(len(hook.top1) == 2, f'{len(hook.top1)} measurements for two')
    return hook.top1[0], hook.top1[1]
