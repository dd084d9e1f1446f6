"""Predicted peak memory of a step against the bytes of a real one, on this CPU."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmssl.apis import load_config
from mmssl.cli.subprocess_tools import REPO
from mmssl.planning.fake_tensor_step import FakeTensorStep
from mmssl.planning.memory import Memory
from mmssl.planning.standalone_step import StandaloneTraining, noise_batch
from mmssl.registry import MODELS

from .timing import Builders, Comparison, counted

CONFIGS = tuple(sorted((REPO / 'configs/compare').glob('*_shapes.py')))


def measured(cfg: Config, batch: int) -> float:
    """Take a step and return its peak in MiB."""
    data = noise_batch(cfg, batch)
    with DefaultScope.overwrite_default_scope('mmssl'), Memory() as memory:
        training = StandaloneTraining(cfg, MODELS.build(cfg.model))
        memory.peak = memory.now
        training.step(data)
    return memory.peak / 2**20


def comparisons(configs: tuple[Path, ...] = CONFIGS, batch: int = 0) -> Builders:
    """One of each config; 0 is its own batch."""

    def both(path: Path) -> Comparison:
        cfg = load_config(path)
        count = batch or cfg.train_dataloader.batch_size
        contestants = dict(
            predicted=lambda: FakeTensorStep(cfg, 'cpu').peak(count) / 2**20,
            measured=lambda: measured(cfg, count),
        )
        return Comparison(
            contestants,
            ['measured'],
            unit='MiB',
            measure=counted,
            once=True,
            facts=lambda *_: dict(batch=count),
        )

    return {path.stem: lambda _, path=path: both(path) for path in configs}
