"""Training steps of a config's model and optimizer, without runner and data."""

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

from ..core import Progress, UserError
from ..core.protocols import Method
from ..datasets.channel_image import ChannelImage
from ..datasets.encoded_image import EncodedImage
from ..datasets.transforms.multi_view import build_multi_view
from ..registry import MODELS

Batch = dict[str, Any]
DISTINCT = 32  # samples of a batch that differ; larger batches repeat them


def noise_batch(cfg: Any, count: int) -> Batch:
    """Return a batch of ``count`` noise images, as the config's loader would give it.

    Raises UserError for a config that trains nothing.
    """
    for key in ('optim_wrapper', 'train_dataloader'):
        if not cfg.get(key):
            raise UserError(
                f'{cfg.filename}: has no {key}, so it trains nothing; give a pretraining config',
                key=key,
                value=None,
            )
    pipeline = cfg.train_dataloader.dataset.get('pipeline', [])
    multi_view = build_multi_view(pipeline)
    image = _noise_image(pipeline)
    last_epoch = cfg.train_cfg.max_epochs - 1  # some masks begin later than at 0
    samples = [
        multi_view(dict(image=image, rng=random.Random(i), epoch=last_epoch))
        for i in range(min(count, DISTINCT))
    ]
    found: Batch = default_collate([samples[i % len(samples)] for i in range(count)])
    return found


def _noise_image(pipeline: Any) -> EncodedImage:
    """Return an image of the channels and bits that the pipeline loads."""
    rng = np.random.default_rng(0)
    load = next((step for step in pipeline if step.get('channels')), None)
    if load is not None:
        deep = load.get('value_range') is not None
        kind, highest = (np.uint16, 0xFFFF) if deep else (np.uint8, 0xFF)
        shape = (256, 256, load['channels'])
        return ChannelImage.of_array(rng.integers(0, highest, shape, kind), 'noise')
    pixels = rng.integers(0, 255, (256, 256, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'jpeg')
    return EncodedImage(file.getvalue(), 'noise')


def build_on_meta(cfg: Any) -> Any:
    """Return the config's model on the meta device: constructors ask for numbers, true there."""
    with DefaultScope.overwrite_default_scope('mmssl'), torch.device('meta'):
        return MODELS.build(cfg.model)


class StandaloneTraining:
    """A config's model and optimizer, which take training steps as the runner's would.

    The progress is that of the last iteration, when nothing is frozen and every queue is in use,
    and the optimizer has its state from the start. Where an update gathers the gradients of
    several batches, two are gathered. Without ``amp`` the config's mixed precision is off.
    """

    def __init__(self, cfg: Any, model: Any, amp: bool = True) -> None:
        self.model = model.train()
        self.wrapper: Any = self._build_wrapper(cfg, amp)
        # kernels and their workspaces as the runner chooses them
        torch.backends.cudnn.benchmark = bool((cfg.get('env_cfg') or {}).get('cudnn_benchmark'))
        epochs = cfg.train_cfg.max_epochs
        progress = Progress(epochs - 1, epochs, 1)
        self.model.progress = progress
        self.wrapper.progress = progress
        groups = self.wrapper.optimizer.param_groups
        self.parameters = [p for group in groups for p in group['params']]
        self._create_optimizer_state()

    def _build_wrapper(self, cfg: Any, amp: bool) -> Any:
        settings = dict(cfg.optim_wrapper)
        settings['accumulative_counts'] = min(settings.get('accumulative_counts', 1), 2)
        if not amp:
            settings.pop('amp', None)
        with DefaultScope.overwrite_default_scope('mmssl'):
            return build_optim_wrapper(self.model, settings)

    def _create_optimizer_state(self) -> None:
        """Let the optimizer allocate its state, by a step with gradients of zero."""
        for p in self.parameters:
            p.grad = torch.zeros_like(p)
        self.wrapper.optimizer.step()
        self.wrapper.optimizer.zero_grad()

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar ()."""
        with self.wrapper.optim_context(self.model):
            losses = self.model(**self.model.data_preprocessor(batch, True), mode='loss')
        found: Tensor = self.model.parse_losses(losses)[0]
        return found

    def step(self, batch: Batch, before_forward: Callable[[], None] = lambda: None) -> Tensor:
        """Update the model once; return the loss () of the last of the gathered batches.

        The order is the runner's: `begin_update`, forward, backward and update, `end_step`.
        """
        method = isinstance(self.model, Method)  # a classifier's update is the optimizer's alone
        if method:
            self.model.begin_update()
        for _ in range(self.wrapper._accumulative_counts):
            before_forward()
            loss = self.forward(batch)
            self.wrapper.update_params(loss)
        if method:
            self.model.end_step()
        return loss.detach()
