"""Provenance of a result: the network, data, settings, versions and machine behind it."""

import subprocess
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..checkpoint.reader.read_file import file_hash
from ..core import dist
from ..core.io import to_plain, unwrap_model
from ..engine.hooks.run_info_hook import command_line, machine, versions
from ..engine.runner import Runner
from ..evaluation.fingerprint import data_fingerprint, network_settings, weights_hash
from ..models.classifier import Classifier
from ..zoo.hub import PACKAGE

FORMAT = 'mmssl-result-1'
DESCRIBED_ELSEWHERE = ('type', 'backbone', '_scope_')  # keys of a model's config


def describe(runner: Runner, loaders: dict[str, Any]) -> dict[str, Any]:
    """Return, as plain data, what is known before an evaluation begins."""
    cfg = runner.cfg
    model = unwrap_model(runner.model)
    datasets = {name: loader.dataset for name, loader in loaders.items()}
    parameters = sum(p.numel() for p in model.backbone.parameters())
    # a data set of the user's own class has no pipeline
    transforms = {name: getattr(d, 'pipeline', None) for name, d in datasets.items()}
    found: dict[str, Any] = to_plain(
        dict(
            format=FORMAT,
            protocol=protocol(cfg),
            config=cfg.filename,
            encoder=_encoder(cfg, model.backbone),
            classifier=_file(cfg.get('load_from')) if isinstance(model, Classifier) else {},
            backbone={**network_settings(cfg.model.backbone), 'parameters': parameters},
            data={name: data_fingerprint(dataset) for name, dataset in datasets.items()},
            transform={**transforms, 'normalised': _normalisation(model.data_preprocessor)},
            seed=runner.seed,
            command=command_line(),
            commit=commit(),
            versions=versions(),
            machine=machine(),
        )
    )
    return found


def protocol(cfg: Config) -> str:
    """Return the name that a config gives its protocol, or that of what it does."""
    if cfg.get('protocol'):
        found: str = cfg.protocol
        return found
    if cfg.model.type != 'Classifier':
        return 'kNN monitor'
    return 'linear' if cfg.model.get('frozen') else 'fine-tuning'


def _normalisation(preprocessor: Any) -> dict[str, list[float]]:
    """Return mean and standard deviation of the pixels, as a config writes them."""
    return {
        name: [round(value, 6) for value in buffer.flatten().tolist()]
        for name, buffer in (('mean', preprocessor.mean), ('std', preprocessor.std))
    }


def _encoder(cfg: Config, backbone: Any) -> dict[str, Any]:
    """Return which file filled a backbone, what kind of file it is, and a hash of the weights."""
    report = backbone.loaded
    source = cfg.get('pretrained') or cfg.get('load_from') or 'random'
    encoder: dict[str, Any] = dict(asked=source, weights=weights_hash(backbone))
    if report is None:
        return encoder
    return dict(
        **encoder,
        **_file(report.path),
        layout=report.layout,
        branch=report.branch,
        model=report.model,
        epoch=report.epoch,
    )


def _file(path: str | None) -> dict[str, Any]:
    if not path or not Path(path).is_file():
        return {}
    return dict(file=str(path), sha256=file_hash(path, 64))


def settings(runner: Runner, loop: Any) -> dict[str, Any]:
    """Return the settings that decide the metrics beside network and data.

    ``loop.facts`` adds those of an evaluation loop of ours.
    """
    cfg = runner.cfg
    model = unwrap_model(runner.model)
    found: dict[str, Any] = {}
    if isinstance(model, Classifier):
        found.update({k: v for k, v in cfg.model.items() if k not in DESCRIBED_ELSEWHERE})
        found.update(blocks=model.blocks, pool=model.pool)
    if cfg.get('train_cfg') is not None:
        found.update(
            epochs=runner.max_epochs,
            batch=runner.train_dataloader.batch_size * dist.world_size(),
            accumulated=runner.optim_wrapper._accumulative_counts,
            optimizer=cfg.optim_wrapper.get('optimizer'),
            rules=(cfg.optim_wrapper.get('paramwise_cfg') or {}).get('rules'),
            half=cfg.optim_wrapper.get('amp'),
            rate_scaled_by=runner.lr_ratio,
            schedule=cfg.get('param_scheduler'),
        )
    return {**found, **getattr(loop, 'facts', {})}  # mmengine's own loops have none


def commit() -> str:
    """Return the git commit of mmssl, '-dirty' with changes, or '' outside a repository."""
    command = ('git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*')
    try:
        done = subprocess.run(
            command, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip()
