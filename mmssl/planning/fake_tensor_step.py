"""Peak memory and operations of a training step, estimated on FakeTensors, which hold no data."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from ..core.protocols import BoundedMemory
from ..engine.optim.wrapper import read_amp
from .cuda_emulation import EmulateCUDA
from .device_counts import DeviceCounts
from .memory import Memory
from .standalone_step import Batch, StandaloneTraining, build_on_meta, noise_batch

aten = torch.ops.aten


class DataDependentResults(TorchDispatchMode):
    """Placeholder results for data-dependent operations.

    A truth value is True, a number 0, and ``share`` of all elements are nonzero.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            return args[0].dtype is torch.bool or 0
        if func is aten.nonzero.default:
            return args[0].new_empty(
                (round(self.share * args[0].numel()), args[0].dim()), dtype=torch.long
            )
        return func(*args, **kwargs)


class FakeTensorStep:
    """Training steps on FakeTensors, which take seconds and no memory at any batch size.

    ``device`` is the one that is emulated: with 'cuda' mixed precision and fused attention as a
    GPU has them, with 'cpu' neither. Raises UserError for a config that trains nothing.
    """

    def __init__(self, cfg: Any, device: str = 'cuda') -> None:
        batch = noise_batch(cfg, 32)
        mask = batch['data_samples'].get('mask')
        share = 0.0 if mask is None else float(mask.float().mean())
        self.one_image = {
            'inputs': [view[:1] for view in batch['inputs']],
            'data_samples': {k: v[:1] for k, v in batch['data_samples'].items()},
        }
        self.modes: list[AbstractContextManager[Any]] = [FakeTensorMode(allow_non_fake_inputs=True)]
        self.memory = Memory()
        self.modes += [DataDependentResults(share), self.memory] + [EmulateCUDA()] * (
            device == 'cuda'
        )
        model = build_on_meta(cfg)
        with self._inside():
            self.training = StandaloneTraining(cfg, model.to_empty(device='cpu'), amp=False)
        self.training.wrapper.amp_device = 'cpu'
        if device == 'cuda':
            self.training.wrapper.amp = read_amp(cfg.optim_wrapper.get('amp'))

    @contextmanager
    def _inside(self) -> Iterator[None]:
        with ExitStack() as stack:
            for mode in self.modes:
                stack.enter_context(mode)
            yield

    def _batch(self, count: int) -> Batch:
        found: Batch = tree_map(
            lambda x: x.new_empty((count, *x.shape[1:]), device='cpu'), self.one_image
        )
        return found

    def peak(self, batch: int) -> int:
        """Return the most bytes that the tensors of one step with ``batch`` images take."""
        with self._inside():
            self.training.model.logged_embeddings = {}  # of the batch before
            self.memory.peak = self.memory.now
            self.training.step(self._batch(batch))
        return self.memory.peak

    def counts(self, batch: int) -> DeviceCounts:
        """Return what an update with ``batch`` images asks of the device.

        A queue is full by then, so that a method that waits for it to fill no longer does.
        """
        with self._inside():
            images = self._batch(batch)
            if any(isinstance(part, BoundedMemory) for part in self.training.model.modules()):
                self.training.step(images)
            counts = DeviceCounts()
            with counts:
                self.training.step(images)
        return counts

    def operations(self, batch: int = 2) -> tuple[float, float]:
        """Return operations for an image: of the forward, and with the backward.

        Products, convolutions and attention of all crops through student, teacher and heads; a
        multiplication with its addition counts once.
        """
        counter = FlopCounterMode(display=False)
        with self._inside(), EmulateCUDA(), counter:  # it knows the operations of CUDA's attention
            loss = self.training.forward(self._batch(batch))
            forward = counter.get_total_flops()
            loss.backward()
        for p in self.training.parameters:
            p.grad = None
        self.training.model.drop_step()
        return forward / 2 / batch, counter.get_total_flops() / 2 / batch

    def teacher_operations(self, teacher: Any, batch: int = 2) -> float:
        """Return the operations of a frozen ``teacher`` for all crops of an image."""
        counter = FlopCounterMode(display=False)
        with self._inside(), EmulateCUDA(), counter, torch.no_grad():
            data = self.training.model.data_preprocessor(self._batch(batch), True)
            for view in data['inputs']:
                teacher.encode(view)
        return counter.get_total_flops() / 2 / batch
