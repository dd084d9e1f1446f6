"""Compile the networks of a ViT-S and a ResNet-50: loss, seconds, graphs."""

import time
from typing import Any

import torch
from mmengine.config import Config

from ..config.load import load_config
from ..engine.compile import compile_networks
from ..planning.standalone_step import StandaloneTraining, noise_batch
from .parts import Parts, near
from .recipes import CONFIGS, build
from .timing import on_device, seconds_each, synchronize

RECIPES = {
    'ViT-S, MoCo v3': 'mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py',
    'ResNet-50, MoCo v2': 'mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
}
BATCH = 64
LIMIT = 0.02  # of the loss, in bfloat16


def check(parts: Parts) -> None:
    """Compare eager and compiled steps of both networks."""
    for name in parts.each(RECIPES):
        with parts.part(name) as values:
            cfg = load_config(CONFIGS / RECIPES[name], {'optim_wrapper.amp': 'bfloat16'})
            values |= compare(cfg, parts.device, BATCH, True)


def compare(cfg: Config, device: str, batch: int, options: Any) -> dict[str, float]:
    """Return the loss, the times and the number of graphs. Raises AssertionError.

    ``options`` are those of the config's key ``compile``.
    """
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    graphs = torch._dynamo.utils.counters['stats']
    data = on_device(noise_batch(cfg, batch), device)
    eager = StandaloneTraining(cfg, build(cfg, device))
    compiled = StandaloneTraining(cfg, build(cfg, device))
    compile_networks(compiled.model, options)
    expected = float(eager.step(data))
    began = time.perf_counter()
    found = float(compiled.step(data))
    synchronize(device)
    first = time.perf_counter() - began
    values = dict(
        loss_off=near(found, expected, LIMIT, 'compiled loss'),
        first_step_s=first,
        eager_ms=1e3 * seconds_each(lambda: eager.step(data), device),
        compiled_ms=1e3 * seconds_each(lambda: compiled.step(data), device),
        graphs=graphs['unique_graphs'],
    )
    compiled.model.eval()
    image = compiled.model.data_preprocessor(data)['inputs'][0]
    began = time.perf_counter()
    with torch.no_grad():
        compiled.model.backbone.encode(image)
    synchronize(device)
    return values | dict(
        monitor_s=time.perf_counter() - began, graphs_with_monitor=graphs['unique_graphs']
    )
