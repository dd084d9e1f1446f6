"""Run a recipe's step on devices that are emulated, to find what a GPU would refuse.

Two emulations, both with FakeTensors of full width: CUDA with its own autocast table, which cannot
be differentiated without a driver, and a device written in Python, which has no autocast and does
the rest of a step. On both, an operation whose tensors lie on different devices raises.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from ..core import Progress
from ..engine.optim.wrapper import AMP_DTYPES
from ..evaluation.knn import knn
from ..functional import embedding_stats
from .device_counts import DeviceCounts
from .fake_tensor_step import DataDependentResults
from .standalone_step import Batch, StandaloneTraining, build_on_meta, noise_batch

IMAGES = 2
PYTHON_DEVICE = 'emu'
PRECISIONS: dict[str, torch.dtype | None] = {'float32': None, **AMP_DTYPES}


def register_python_device() -> None:
    """Make torch know the device written in Python, once for this process and for good."""
    if torch._C._get_privateuse1_backend_name() != PYTHON_DEVICE:
        _setup_privateuseone_for_python_backend(PYTHON_DEVICE)


def place(model: Any, device: str) -> Any:
    """Return the model with tensors without content on ``device``."""
    model = model.to_empty(device=device)
    model._set_device(torch.device(device))  # of the preprocessor; `to` would have told it
    return model


@contextmanager
def cuda_autocast(kind: torch.dtype | None) -> Iterator[None]:
    """Turn CUDA's autocast on without a GPU, for which `torch.autocast` turns itself off."""
    if kind is None:
        yield
        return
    before = torch.get_autocast_dtype('cuda')
    torch.set_autocast_dtype('cuda', kind)
    torch.set_autocast_enabled('cuda', True)
    try:
        yield
    finally:
        torch.set_autocast_enabled('cuda', False)
        torch.set_autocast_dtype('cuda', before)
        torch.clear_autocast_cache()


@contextmanager
def without_content(share: float) -> Iterator[None]:
    """Let tensors hold no numbers; ``share`` of a mask is true."""
    with FakeTensorMode(allow_non_fake_inputs=True), DataDependentResults(share):
        yield


def _fake(batch: Batch) -> Batch:
    """Return the batch with tensors without content, on the CPU as the loader gives them."""
    found: Batch = tree_map(lambda x: x.new_empty(x.shape) if isinstance(x, Tensor) else x, batch)
    return found


def check_forward(cfg: Any, precision: str) -> list[str]:
    """Return what is wrong with the forward on CUDA in ``precision``, a key of `PRECISIONS`.

    Losses must be float32 on the device. What a GPU would refuse raises RuntimeError.
    """
    batch = noise_batch(cfg, IMAGES)
    model = build_on_meta(cfg).train()
    with without_content(0.3):
        place(model, 'cuda')
        model.progress = Progress(99, 100, 10)  # nothing is frozen, and all queues are in use
        model.begin_update()
        with cuda_autocast(PRECISIONS[precision]):
            losses = model(**model.data_preprocessor(_fake(batch), True), mode='loss')
        return [
            f'{name} is {value.dtype} on {value.device.type}'
            for name, value in losses.items()
            if value.dtype != torch.float32 or value.device.type != 'cuda'
        ]


def check_step(cfg: Any) -> list[str]:
    """Return what is wrong with a whole update, health figures and kNN on the Python device.

    Gradients must have the type and the device of their parameters, and some must be there; what
    is copied to the device is so without waiting; what mixes devices raises RuntimeError. The
    Python device cannot compute activations again: a config with ``with_cp`` is checked by
    `check_forward` alone.
    """
    register_python_device()
    batch = noise_batch(cfg, IMAGES)
    model = build_on_meta(cfg)
    with without_content(0.3):
        training = StandaloneTraining(cfg, place(model, PYTHON_DEVICE), amp=False)
        seen: dict[Tensor, Tensor] = {}
        for parameter in training.parameters:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(
                    lambda p: seen.update({p: p.grad.clone()})
                )
        counts = DeviceCounts()
        with counts:
            loss = training.step(_fake(batch))
        _measure_health(training.model)
        wrong = [
            f'gradient of {tuple(p.shape)} is {grad.dtype} on {grad.device.type}'
            for p, grad in seen.items()
            if grad.dtype != p.dtype or grad.device != p.device
        ]
        if loss.dtype != torch.float32 or loss.device.type != PYTHON_DEVICE:
            wrong.append(f'the loss is {loss.dtype} on {loss.device.type}')
        if not seen:
            wrong.append('no parameter has a gradient')
        wrong += [f'{place}: a copy that holds the host up' for place in counts.blocking_copies]
        features = _features(training.model, batch)
        labels = torch.zeros(len(features), dtype=torch.long, device=PYTHON_DEVICE)
        votes = knn(features, labels, features, k=1, temperature=0.07, classes=2)
        return wrong + ([] if votes.device == features.device else ['votes are elsewhere'])


def _measure_health(model: Any) -> None:
    """Compute what the health hook does of the logged embeddings."""
    student, teacher = (model.logged_embeddings[name] for name in ('student', 'teacher'))
    embedding_stats.embedding_std(student)
    embedding_stats.rankme(student)
    embedding_stats.teacher_cosine(student, teacher)


def _features(model: Any, batch: Batch) -> Tensor:
    """Return the features (B, C) that kNN compares, of the first view."""
    model.eval()
    first = _fake(batch)['inputs'][0]
    with torch.no_grad():
        images = model.data_preprocessor({'inputs': first}, False)['inputs']
        pooled: Tensor = model.encode(images).pooled
    return pooled.float()
