"""What a result is a result of: network, data, settings, machine."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoint.reader import file_hash
from ..core import dist
from ..engine.clock import bare
from ..engine.record import machine, versions
from ..evaluation.identity import of_data, of_network, of_weights, plain
from ..models.classifier import Classifier
from .hub import PACKAGE

FORMAT = 'mmssl-result-1'
ELSEWHERE = ('type', 'backbone', '_scope_')  # of a model's config


def describe(runner: Any, loaders: dict[str, Any]) -> dict[str, Any]:
    """Return, as plain data, what is known before an evaluation begins."""
    cfg, model = runner.cfg, bare(runner.model)
    sets = {name: loader.dataset for name, loader in loaders.items()}
    counted = dict(parameters=sum(p.numel() for p in model.backbone.parameters()))
    return plain(
        dict(
            format=FORMAT,
            protocol=protocol(cfg),
            config=cfg.filename,
            encoder=_encoder(cfg, model.backbone),
            classifier=_file(cfg.get('load_from')) if isinstance(model, Classifier) else {},
            backbone={**of_network(cfg.model.backbone), **counted},
            data={name: of_data(dataset) for name, dataset in sets.items()},
            transform={name: getattr(s, 'pipeline', None) for name, s in sets.items()}
            | dict(normalised=_normalised(model.data_preprocessor)),
            seed=runner.seed,
            command=shlex.join(['python', *sys.argv]),
            commit=commit(),
            versions=versions(),
            machine=machine(),
        )
    )


def protocol(cfg: Config) -> str:
    """Return the name that a config gives its protocol, or that of what it does."""
    if cfg.get('protocol'):
        return cfg.protocol
    if cfg.model.type != 'Classifier':
        return 'kNN monitor'
    return 'linear' if cfg.model.get('frozen') else 'fine-tuning'


def _normalised(preprocessor: Any) -> dict[str, list[float]]:
    """Return what pixels are normalised by, as a config writes it."""
    return {
        name: [round(value, 6) for value in getattr(preprocessor, name).flatten().tolist()]
        for name in ('mean', 'std')
    }


def _encoder(cfg: Config, backbone: Any) -> dict[str, Any]:
    """Return which file filled a backbone, what kind of file it is, and a hash of the weights."""
    report = backbone.loaded
    asked = cfg.get('pretrain') or cfg.get('load_from') or 'random'
    known: dict[str, Any] = dict(asked=asked, weights=of_weights(backbone))
    if report is None:
        return known
    names = ('dialect', 'side', 'model', 'epoch')
    return {**known, **_file(report.path), **{name: getattr(report, name) for name in names}}


def _file(path: str | None) -> dict[str, Any]:
    if not path or not Path(path).is_file():
        return {}
    return dict(file=str(path), sha256=file_hash(path, 64))


def settings(runner: Any, loop: Any) -> dict[str, Any]:
    """Return what decides the figure beside network and data; ``loop.facts`` adds its own."""
    cfg, model = runner.cfg, bare(runner.model)
    found: dict[str, Any] = {}
    if isinstance(model, Classifier):
        found.update({k: v for k, v in cfg.model.items() if k not in ELSEWHERE})
        found.update(blocks=model.blocks, pool=model.pool)
    if cfg.get('train_cfg') is not None:
        found.update(
            epochs=runner.max_epochs,
            batch=runner.train_dataloader.batch_size * dist.world_size(),
            accumulated=getattr(runner.optim_wrapper, '_accumulative_counts', 1),
            optimizer=cfg.optim_wrapper.get('optimizer'),
            rules=(cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules'),
            half=cfg.optim_wrapper.get('amp'),
            rate_scaled_by=runner.lr_ratio,
            schedule=cfg.get('param_scheduler'),
        )
    return {**found, **getattr(loop, 'facts', {})}


def commit() -> str:
    """Return the commit that mmssl runs from, '-dirty' with changes, or nothing outside git."""
    words = ('git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*')
    try:
        done = subprocess.run(
            words, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip()
