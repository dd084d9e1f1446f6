"""Training steps of a config without runner, data or, if so wished, numbers."""

import io
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from ..core import Clock, UserError
from ..datasets.picture import Picture
from ..engine.optim_wrapper import TYPES
from ..registry import MODELS
from .as_cuda import AsCUDA
from .memory import Memory
from .views import multi_view

aten = torch.ops.aten
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
    return default_collate([drawn[i % len(drawn)] for i in range(count)])  # type: ignore[no-any-return]


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

    def step(self, batch: Batch) -> None:
        """Update once."""
        model = self.model
        if model.teacher_moves == 'before':
            model.move_teacher()
        for _ in range(self.wrapper._accumulative_counts):
            self.wrapper.update_params(self.forward(batch))
        model.end_step()
        if model.teacher_moves == 'after':
            model.move_teacher()


class _Answers(TorchDispatchMode):
    """What tensors without numbers say when asked for one: yes, zero, and ``share`` of all."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            return args[0].dtype is torch.bool or 0
        if func is aten.nonzero.default:
            return args[0].new_empty(
                (round(self.share * args[0].numel()), args[0].dim()), dtype=torch.long
            )
        if func is aten.bincount.default:
            return args[0].new_empty(args[2])  # at least so long
        return func(*args, **kwargs)


class DryRun:
    """Training steps of tensors without numbers, which take seconds and no memory at any size.

    ``device`` says whose way of computing is followed: with 'cuda' mixed precision and fused
    attention as a GPU has them, with 'cpu' neither.
    """

    def __init__(self, cfg: Any, device: str = 'cuda') -> None:
        drawn = images(cfg, 32)
        mask = drawn['data_samples'].get('mask')
        share = 0.0 if mask is None else float(mask.float().mean())
        self.one = {
            'inputs': [view[:1] for view in drawn['inputs']],
            'data_samples': {k: v[:1] for k, v in drawn['data_samples'].items()},
        }
        self.modes: list[AbstractContextManager] = [FakeTensorMode(allow_non_fake_inputs=True)]
        self.memory = Memory()
        self.modes += [_Answers(share), self.memory] + [AsCUDA()] * (device == 'cuda')
        # constructors ask for numbers, which are true on meta
        with DefaultScope.overwrite_default_scope('mmssl'), torch.device('meta'):
            model = MODELS.build(cfg.model)
        with self._inside():
            self.training = Training(cfg, model.to_empty(device='cpu'), amp=False)
        kind = TYPES.get(cfg.optim_wrapper.get('amp')) if device == 'cuda' else None
        self.training.wrapper.optim_context = lambda _: torch.autocast(
            'cpu', kind, enabled=kind is not None
        )

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with ExitStack() as stack:
            for mode in self.modes:
                stack.enter_context(mode)
            yield

    def _batch(self, count: int) -> Batch:
        return tree_map(lambda x: x.new_empty((count, *x.shape[1:]), device='cpu'), self.one)

    def peak(self, batch: int) -> int:
        """Return the most bytes that the tensors of one step with ``batch`` images take."""
        with self._inside():
            self.training.model.watched = {}  # of the batch before
            self.memory.peak = self.memory.now
            self.training.step(self._batch(batch))
        return self.memory.peak

    def operations(self, batch: int = 2) -> tuple[float, float]:
        """Return operations for an image: of the forward, and with the backward.

        Products, convolutions and attention of all crops through student, teacher and heads; a
        multiplication with its addition counts once.
        """
        counter = FlopCounterMode(display=False)
        with self._inside(), AsCUDA(), counter:  # it knows the operations of CUDA's attention
            loss = self.training.forward(self._batch(batch))
            forward = counter.get_total_flops()
            loss.backward()
        for p in self.training.parameters:
            p.grad = None
        self.training.model.drop_step()
        return forward / 2 / batch, counter.get_total_flops() / 2 / batch
