"""Measure every method's recipe for one GPU: time, rate, memory, and what hooks cost."""

from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config

from ..config.load import load_config
from ..core.cores import own_cores
from ..planning.fake_tensor_step import FakeTensorStep
from ..planning.standalone_step import StandaloneTraining, noise_batch
from .parts import NO_TIME, Parts
from .recipes import ONE_GPU, build, make_runner, small_config, train, write_shapes
from .timing import on_device, seconds_each, synchronize

MOST = 256  # images of a batch
SIDE = 8192  # rows of the matrices whose product is timed
COLD = 4  # steps of a runner that are not counted


def check(parts: Parts) -> None:
    """Measure products, every method, and the hooks of a runner; compare with the plans."""
    with parts.part('products') as values:
        rates = {kind: product_rate(kind, parts.device, SIDE) for kind in ('bfloat16', 'float32')}
        values['tera_operations_a_second'] = rates
    measured: dict[str, dict[str, float]] = {}
    workers = max(1, min(len(ONE_GPU), own_cores() // 2))
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        plans = {name: pool.submit(prediction, file, MOST) for name, file in ONE_GPU.items()}
        for method in parts.each(ONE_GPU):
            with parts.part(method) as values:
                values |= step_of(load_config(ONE_GPU[method]), parts.device, MOST)
                measured[method] = dict(values)
        for method in ('mocov3', 'esvit'):
            if parts.left > 5:
                with parts.part(f'{method}, hooks') as values:
                    values |= hook_cost(method, parts.folder, parts.device)
        for method, values in measured.items():
            compare_with_plan(parts, method, values, plans[method], rates['bfloat16'])
        pool.shutdown(wait=False, cancel_futures=True)


def batch_of(cfg: Config, most: int) -> int:
    """Return the images of a pass: the recipe's, at most ``most``."""
    return min(int(cfg.train_dataloader.batch_size), most)


def product_rate(kind: str, device: str, side: int) -> float:
    """Return 1e12 operations a second of a product of square matrices, additions counted."""
    a = torch.randn(side, side, device=device, dtype=getattr(torch, kind))
    return 2 * side**3 / seconds_each(lambda: a @ a, device) / 1e12


def step_of(cfg: Config, device: str, most: int) -> dict[str, float]:
    """Return time, rate and peak memory of an update, its batch on the device already."""
    batch = batch_of(cfg, most)
    training = StandaloneTraining(cfg, build(cfg, device))
    data = on_device(noise_batch(cfg, batch), device)
    if device == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = seconds_each(lambda: training.step(data), device)
    synchronize(device)
    images = batch * training.wrapper._accumulative_counts
    found = dict(batch=batch, update_ms=1e3 * seconds, images_a_second=images / seconds)
    if device == 'cuda':
        found['peak_gib'] = torch.cuda.max_memory_allocated() / 2**30
    return found


def prediction(file: Path, most: int) -> tuple[float, float]:
    """Return the plan's peak in GiB, and 1e12 operations for an image, additions counted."""
    torch.set_num_threads(1)
    cfg = load_config(file)
    plan = FakeTensorStep(cfg)
    return plan.peak(batch_of(cfg, most)) / 2**30, 2 * plan.operations()[1] / 1e12


def compare_with_plan(
    parts: Parts, method: str, measured: dict[str, float], plan: Future[Any], rate: float
) -> None:
    """Note the measured peak beside the predicted one, and the share of the rate of products."""
    name = f'{method}, plan'
    try:
        peak, operations = plan.result(max(parts.left, 0.0))
    except TimeoutError:
        parts.add(name, None, note=NO_TIME)
        return
    except Exception as error:
        parts.add(name, False, error=f'{type(error).__name__}: {error}')
        return
    values = dict(
        predicted_gib=peak, share_of_products=operations * measured['images_a_second'] / rate
    )
    if 'peak_gib' in measured:
        values['measured_over_predicted'] = measured['peak_gib'] / peak
    parts.add(name, True, **values)


def hook_cost(method: str, folder: Path, device: str) -> dict[str, float]:
    """Return the time of the runner's steps beside that of bare ones, in milliseconds."""
    data = write_shapes(folder / 'shapes')
    cfg = small_config(method, data, train_cfg__max_epochs=6, train_cfg__val_interval=100)
    runner = make_runner(cfg, folder / f'{method}_hooks')
    train(runner)
    history = [runner.message_hub.get_scalar(f'train/{key}').data[0] for key in
               ('time', 'data_time')]  # fmt: skip
    steps = [float(whole - wait) for whole, wait in zip(*history, strict=True)][COLD:]
    training = StandaloneTraining(cfg, build(cfg, device))
    batch = noise_batch(cfg, int(cfg.train_dataloader.batch_size))
    bare = seconds_each(lambda: training.step(batch), device)
    return dict(runner_ms=1e3 * median(steps), bare_ms=1e3 * bare,
                hooks_ms=1e3 * (median(steps) - bare))  # fmt: skip
