"""The recipes that checks train, and runners over them."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from PIL import Image

from ..config.load import load_config
from ..core import dist
from ..core.host_values import as_number
from ..datasets.shapes import CLASSES, draw_object
from ..engine import Runner
from ..registry import MODELS
from ..zoo.hub import root

CONFIGS = root() / 'configs'
# the quickest first
METHODS = ('mocov3', 'mocov1', 'mocov2', 'moby', 'swav', 'ibot', 'dino', 'sere', 'esvit')
# a small recipe of every method, over shapes; EsViT's task of views is DINO
SMALL = {
    m: CONFIGS / 'compare' / f'{small}_1xb64-16e_shapes.py'
    for m, small in ((m, 'esvit_vit-conv-v' if m == 'dino' else f'{m}_vit-conv') for m in METHODS)
}
# a full-size recipe of every method, for one GPU; distillation needs an encoder's weights
ONE_GPU = {
    method: file
    for file in sorted(CONFIGS.glob('one_gpu/*.py'))
    if (method := file.name.partition('_')[0]) in METHODS
}
BATCH = 8
PER_CLASS = 8  # images of each class of shapes that are written
_numbers = itertools.count()


def write_shapes(folder: Path, train: int = PER_CLASS, val: int = PER_CLASS) -> Path:
    """Write images of every class, for training and for the monitor; return the folder."""
    for split, each in dict(train=train, val=val).items():
        for index in range(each * len(CLASSES)):
            number, label = divmod(index, len(CLASSES))
            file = folder / split / CLASSES[label] / f'{number}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_object(0, index, label, 48, split)[0]).save(file)
    return folder


def small_config(method: str, data: Path, **options: Any) -> Config:
    """Return a method's small recipe over ``data``: two epochs of four steps, no workers.

    ``options`` are those of --cfg-options, with __ for the dot.
    """
    given = {
        'data_root': str(data),
        'train_dataloader.batch_size': BATCH,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.per_class': 4 * BATCH // len(CLASSES),  # four steps
        'val_dataloader.num_workers': 0,
        'val_dataloader.dataset.per_class': 4,
        'val_cfg.bank.per_class': 8,
        'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2,
        'train_cfg.val_at_start': False,
        'default_hooks.logger.interval': 1,
        'default_hooks.health.interval': 2,
        'env_cfg.cudnn_benchmark': False,
    }
    given |= {key.replace('__', '.'): value for key, value in options.items()}
    return load_config(SMALL[method], given)


def make_runner(cfg: Config, work_dir: Path) -> Runner:
    """Build the runner of a config in a work dir."""
    cfg.work_dir, cfg.launcher = str(work_dir), cfg.get('launcher') or 'none'
    # mmengine keeps one logger per name
    cfg.experiment_name = f'check-{next(_numbers)}-{dist.rank()}'
    cfg.log_level = 'WARNING'
    found: Runner = Runner.from_cfg(cfg)
    return found


class AfterStep(Hook):
    """Call a function with the runner and its outputs after every iteration, before all hooks."""

    priority = 'HIGHEST'

    def __init__(self, function: Callable[[Any, dict[str, Any]], Any]) -> None:
        self.function = function

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Call it."""
        self.function(runner, outputs)


def train(runner: Runner, at_step: Callable[[Any], None] = lambda _: None) -> list[float]:
    """Train; return the loss of every step. A stop by signal ends it without an error."""
    losses: list[float] = []

    def note(runner: Any, outputs: dict[str, Any]) -> None:
        losses.append(as_number(outputs['loss']))
        at_step(runner)

    runner.register_hook(AfterStep(note))
    try:
        runner.train()
    except SystemExit as left:
        if left.code != STOPPED:
            raise
    return losses


STOPPED = 128 + 10  # exit status after SIGUSR1


def build(cfg: Config, device: str, seed: int = 0) -> torch.nn.Module:
    """Build the model of a config on a device."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmssl'):
        model: torch.nn.Module = MODELS.build(cfg.model).to(device)
    return model
