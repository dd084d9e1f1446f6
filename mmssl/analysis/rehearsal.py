"""Training steps of a config without runner and data."""

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

from ..core import Clock, UserError
from ..datasets.picture import Picture
from .views import multi_view

Batch = dict[str, Any]


def images(cfg: Any, count: int) -> Batch:
    """Return what the loader would give of ``count`` pictures of noise."""
    if not cfg.get('optim_wrapper') or not cfg.get('train_dataloader'):
        raise UserError(f'{cfg.filename}: trains nothing; plan a pretraining')
    multi = multi_view(cfg.train_dataloader.dataset.get('pipeline', []))
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, 'jpeg')
    picture = Picture(file.getvalue(), 'noise')
    late = cfg.train_cfg.max_epochs - 1
    drawn = [
        multi(dict(image=picture, rng=random.Random(i), epoch=late)) for i in range(min(count, 32))
    ]
    return default_collate([drawn[i % len(drawn)] for i in range(count)])


class Training:
    """A config's model and optimizer that take steps as the runner's would.

    The clock stands at the last iteration, when nothing is frozen and every queue is in use, and
    the optimizer has its state from the start. Of gradients gathered over several batches, two
    are.
    """

    def __init__(self, cfg: Any, model: Any, amp: bool = True) -> None:
        settings = dict(cfg.optim_wrapper)
        settings['accumulative_counts'] = min(settings.get('accumulative_counts', 1), 2)
        if not amp:
            settings.pop('amp', None)
        self.model = model.train()
        # kernels and their workspaces as the runner chooses them
        torch.backends.cudnn.benchmark = bool((cfg.get('env_cfg') or {}).get('cudnn_benchmark'))
        with DefaultScope.overwrite_default_scope('mmssl'):
            self.wrapper: Any = build_optim_wrapper(model, settings)
        clock = Clock(cfg.train_cfg.max_epochs - 1, cfg.train_cfg.max_epochs, 1)
        self.model.clock = self.wrapper.clock = clock
        self.parameters = [p for g in self.wrapper.optimizer.param_groups for p in g['params']]
        for p in self.parameters:
            p.grad = torch.zeros_like(p)
        self.wrapper.optimizer.step()
        self.wrapper.optimizer.zero_grad()

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, as the loader gives it."""
        with self.wrapper.optim_context(self.model):
            losses = self.model(**self.model.data_preprocessor(batch, True), mode='loss')
        return self.model.parse_losses(losses)[0]

    def step(self, batch: Batch, begins: Callable[[], None] = lambda: None) -> Tensor:
        """Update once, and return the loss of the last of the gathered batches.

        ``begins`` is called before each forward.
        """
        model = self.model
        if model.teacher_moves == 'before':
            model.move_teacher()
        for _ in range(self.wrapper._accumulative_counts):
            begins()
            loss = self.forward(batch)
            self.wrapper.update_params(loss)
        model.end_step()
        if model.teacher_moves == 'after':
            model.move_teacher()
        return loss.detach()
