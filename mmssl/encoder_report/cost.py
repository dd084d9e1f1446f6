"""What an encoder costs: parameters, operations, and images a second on this machine."""

import time
from typing import Any

import torch

from ..engine.hooks.run_info_hook import machine
from ..planning.complexity import flops
from .cells import Made
from .encoders import LoadedEncoder
from .models import PIXELS

BATCH = 8
SECONDS = 1.5  # of timed passes, at least


@torch.no_grad()
def cost(encoder: LoadedEncoder) -> Made:
    """Return parameters, operations of one image, and images a second, as facts of a cell.

    Operations are a multiplication with its addition; the time is of the network alone, in batches
    of `BATCH` images of the encoder's own size.
    """
    size = encoder.preparation.size
    if encoder.run.source == PIXELS:
        return Made(facts=dict(parameters=0, flops=0, images_per_second=None, size=size))
    model = encoder.model
    parameters = sum(p.numel() for p in model.backbone.parameters())
    facts = dict(
        parameters=parameters,
        flops=flops(model.backbone, size),
        images_per_second=round(_speed(model, size), 1),
        size=size,
    )
    return Made(facts=facts)


def key_of(encoder: LoadedEncoder) -> dict[str, Any]:
    """Return what a cost depends on: the network, its images and the machine."""
    here = machine()
    return dict(
        encoder=encoder.identity,
        machine={name: here[name] for name in ('processor', 'threads', 'gpus')},
    )


def _speed(model: Any, size: int) -> float:
    """Return images a second."""
    mean = model.data_preprocessor.mean
    images = torch.zeros(BATCH, len(mean), size, size, device=mean.device)
    model.encode(images)
    count, seconds = 0, 0.0
    while seconds < SECONDS:
        begin = time.perf_counter()
        model.encode(images)
        if mean.is_cuda:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - begin
        count += BATCH
    return count / seconds
