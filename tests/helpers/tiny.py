"""A pretraining so small that a run takes a second: config file, runner and what it leaves."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch.nn import functional as F

from mmssl.apis import load_config
from mmssl.core.host_values import as_number
from mmssl.engine import Runner
from mmssl.models.algorithms import Pretrainer
from mmssl.registry import MODELS

from .paths import REPO

CONFIG = '''
"""MoCo v3, as small as it can be."""

_base_ = '{repo}/configs/_base_/pretrain.py'

data_root = '{data}'
crop = dict(type='RandomView', size=16, scale=(0.3, 1.0), jitter=(0.4, 0.4, 0.2, 0.1))
views = [dict(crop, blur=0.5, sigma=(0.1, 1.0)), dict(crop, solarize=0.2)]
train_dataloader = dict(
    batch_size=6, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='MultiView', views=views)]))

model = dict(
    type='MoCoV3',
    backbone={backbone},
    neck=dict(type='MLP', dims=({width}, 24, 8), last_norm=True),
    head=dict(
        type='ContrastiveHead', temperature=0.2, scaled=True,
        predictor=dict(type='MLP', dims=(8, 24, 8), last_norm=True)),
    momentum=dict(start=0.9, final=1.0))

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05))
param_scheduler = [dict(type='ScheduleParam', param_name='lr', final=0.0, warmup=1)]
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=-1))

val_dataloader = dict(
    batch_size=4, num_workers=0,
    dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='CenterView', size=16, resize=16)]))
val_cfg = dict(k=(5, 1))
'''
BACKBONES = {
    'vit': (
        "dict(type='VisionTransformer', arch=(16, 2, 2), img_size=16, patch_size=8,"
        " positions='sincos', init='moco', freeze_patch_embed=True)",
        16,
    ),
    'resnet': ("dict(type='ResNet', depth=18, layers=(1, 1), width=4, small_stem=True)", 8),
}
PER_EPOCH = 4  # 24 images in batches of 6
_numbers = itertools.count()


def write_config(folder: Path, data: Path, backbone: str = 'vit') -> Path:
    """Write a config of the tiny run; return its path."""
    network, width = BACKBONES[backbone]
    path = folder / f'tiny_{backbone}.py'
    path.write_text(CONFIG.format(repo=REPO, data=data, backbone=network, width=width))
    return path


def make_runner(config: Path, work_dir: Path, **options: Any) -> Runner:
    """Build the runner; options are those of --cfg-options, with __ for the dot."""
    cfg = load_config(config, {k.replace('__', '.'): v for k, v in options.items()})
    cfg.work_dir, cfg.launcher = str(work_dir), cfg.get('launcher') or 'none'
    # mmengine keeps one logger per name
    cfg.experiment_name = f'tiny-{next(_numbers)}'
    found: Runner = Runner.from_cfg(cfg)
    return found


class Watch(Hook):
    """Call a function with the runner and the losses after every iteration."""

    priority = 'LOWEST'

    def __init__(self, function: Callable[[Any, dict[str, Any]], Any]) -> None:
        self.function = function

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.function(runner, outputs)


def losses(runner: Runner) -> list[float]:
    """Train and return the loss of every iteration."""
    seen: list[float] = []
    runner.register_hook(Watch(lambda _, outputs: seen.append(as_number(outputs['loss']))))
    runner.train()
    return seen


def weights(runner: Runner) -> dict[str, torch.Tensor]:
    """Copy the state of the model."""
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def log(work_dir: Path) -> str:
    """Return everything the runs of a folder have logged."""
    files = sorted(work_dir.rglob('*.log'))
    assert files, f'no log in {work_dir}'
    return ''.join(file.read_text() for file in files)


def scalars(work_dir: Path) -> list[dict[str, Any]]:
    """Return the lines that mmengine's visualizer has written."""
    files = sorted(work_dir.rglob('scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@MODELS.register_module()
class Attract(Pretrainer):
    """Toy method without negatives, which pulls two views together until all collapses."""

    def loss(self, views: list[torch.Tensor], info: dict[str, Any]) -> dict[str, torch.Tensor]:
        """One minus the cosine of both views' projections."""
        a, b = (self.student(view) for view in views)
        self.log_embeddings(student=a, teacher=b)
        return {'loss': 1 - F.cosine_similarity(a, b).mean()}


@MODELS.register_module()
class Chase(Pretrainer):
    """Toy method whose teacher moves after the update; its loss is a mean over images."""

    teacher_update = 'after'

    def loss(self, views: list[torch.Tensor], info: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Mean square of the projection of one view."""
        return {'loss': self.student(views[0]).square().mean()}


@MODELS.register_module()
class Lead(Chase):
    """The same with a teacher that moves before the forward."""

    teacher_update = 'before'


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Build and run networks in ``dtype``."""
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
