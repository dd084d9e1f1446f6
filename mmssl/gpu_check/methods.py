"""Train every method a few steps through the runner, in every number format, and resume it."""

import math
import os
import signal
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core import Progress
from ..planning.standalone_step import noise_batch
from .parts import Parts, expect, near
from .recipes import SMALL, build, make_runner, small_config, train, write_shapes

DEVICE_COLOURS = dict(train_dataloader__dataset__pipeline__1__pixels='device')
# format -> options: each has modes of its own, so that all are tried
FORMATS: dict[str, dict[str, Any]] = {
    'float32': {},
    'bfloat16': dict(optim_wrapper__amp='bfloat16', **DEVICE_COLOURS),
    'float16': dict(optim_wrapper__amp='float16', model__backbone__with_cp=True, **DEVICE_COLOURS),
}
STEPS = 8
STOP_AFTER = 4  # the signal comes after this step, and the next one is the last
CPU_LIMIT, GPU_LIMIT = 1e-6, 0.02  # of losses; sums of a GPU are in no fixed order
EXACT = 1e-9


def check(parts: Parts) -> None:
    """Compare gradients with the CPU's in float64, then train, stop and resume every method."""
    data = write_shapes(parts.folder / 'shapes')
    if parts.device == 'cuda':
        for method in parts.each(SMALL):
            with parts.part(f'{method} float64, GPU and CPU') as values:
                values['off'] = difference_from_cpu(method, data, parts.device)
    # on a CPU mixed precision is off: one format, with all modes
    formats = FORMATS if parts.device == 'cuda' else {'float32': FORMATS['float16']}
    jobs = {f'{method} {kind}': (method, kind) for kind in formats for method in SMALL}
    for name in parts.each(jobs):
        method, kind = jobs[name]
        with parts.part(name) as values:
            folder = parts.folder / f'{method}_{kind}'
            values |= stop_and_resume(method, data, folder, formats[kind], parts.device)


def difference_from_cpu(method: str, data: Path, device: str) -> float:
    """Return the largest relative difference of loss and gradients. Raises AssertionError."""
    cfg = small_config(method, data)
    model: Any = build(cfg, 'cpu').double().train()
    model.progress = Progress(3, 10, 5)
    batch = noise_batch(cfg, 8)
    expected = _gradients(deepcopy(model), batch)
    found = _gradients(model.to(device), batch)
    scale = max(float(value.abs().max()) for value in expected.values())
    worst = 0.0
    for name, value in expected.items():
        size = max(float(value.abs().max()), 1e-6 * scale)
        worst = max(worst, float((found[name] - value).abs().max()) / size)
        expect(worst <= EXACT, f'{name} is {worst:.1e} off')
    return worst


def _gradients(model: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return loss and gradients of a batch by name, on the CPU."""
    torch.manual_seed(1)
    loss = model(**model.data_preprocessor(deepcopy(batch), True), mode='loss')['loss']
    loss.backward()
    grads = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return grads | {'loss': loss.detach().cpu()}


def stop_and_resume(
    method: str, data: Path, folder: Path, options: dict[str, Any], device: str
) -> dict[str, Any]:
    """Train whole, and again with a stop by SIGUSR1 and a resumption; compare the losses.

    Returns the first and last loss. Raises AssertionError.
    """
    whole = train(make_runner(small_config(method, data, **options), folder / 'whole'))
    expect(len(whole) == STEPS, f'{len(whole)} steps for {STEPS}')
    expect(all(map(math.isfinite, whole)), f'losses: {whole}')

    def stop(runner: Any) -> None:
        if runner.iter + 1 == STOP_AFTER:
            os.kill(os.getpid(), signal.SIGUSR1)

    first = train(make_runner(small_config(method, data, **options), folder / 'parts'), stop)
    expect(len(first) == STOP_AFTER + 1, f'stopped after {len(first)} steps')
    cfg = small_config(method, data, resume=True, **options)
    losses = first + train(make_runner(cfg, folder / 'parts'))
    expect(len(losses) == STEPS, f'{len(losses)} steps in all after resuming')
    limit = CPU_LIMIT if device == 'cpu' else GPU_LIMIT
    for step, (ours, other) in enumerate(zip(losses, whole, strict=True), 1):
        near(ours, other, limit, f'loss of step {step}, resumed and not')
    return dict(first_loss=whole[0], last_loss=whole[-1])
