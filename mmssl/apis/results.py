"""``result.json``: one evaluation whole, so that two figures can be compared or told apart."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..core import dist
from ..engine.clock import bare
from ..engine.runner import Runner
from ..evaluation.identity import plain
from ..evaluation.refusals import check_filled, check_finite, check_labels
from ..models.classifier import Classifier
from ..models.segmenter import Segmenter
from . import encoder
from .facts import describe, settings
from .published import figure, identify, line

FILE = 'result.json'
MOST = 50  # warnings kept


def record(runner: Runner) -> None:
    """Let a runner that evaluates something write result.json into its work dir."""
    cfg = runner.cfg
    classifies = isinstance(bare(runner.model), Classifier)
    if cfg.get('train_cfg') is None or 'pretrain' in cfg or classifies:
        runner.register_hook(ResultHook(runner))


class _Warnings(logging.Handler):
    """Keeps what the user was warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < MOST:
            self.texts[record.getMessage()] = None


class ResultHook(Hook):
    """Refuse what cannot be measured, then write result.json after every evaluation.

    The newest is in the work dir, each run's own in its dated folder. When the model index has a
    figure for what was run, the last line says how the two differ.
    """

    priority = 'LOWEST'

    def __init__(self, runner: Runner) -> None:
        self.warnings = _Warnings()
        runner.logger.addHandler(self.warnings)
        self.content: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.told: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Check network and labels, and describe the start."""
        self._begin(runner, dict(train=runner.train_dataloader, test=runner.val_dataloader))

    def before_test(self, runner: Runner) -> None:
        """Check network and labels, and describe them."""
        self._begin(runner, dict(test=runner.test_dataloader))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Renew the file: an interrupted run has one too."""
        if metrics:
            self.history.append(dict(epoch=runner.epoch, **metrics))
            self._write(runner, metrics, runner.val_loop)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the file."""
        if metrics:
            self._write(runner, metrics, runner.test_loop)

    def after_train(self, runner: Runner) -> None:
        """Say where the result is, and what others have published."""
        self._tell(runner)

    def after_test(self, runner: Runner) -> None:
        """Say where the result is, and what others have published."""
        self._tell(runner)

    def _begin(self, runner: Runner, loaders: dict[str, Any]) -> None:
        model, cfg = bare(runner.model), runner.cfg
        loaders = {name: loader for name, loader in loaders.items() if loader is not None}
        resumed, pretrain = runner._resumed is not None, cfg.get('pretrain')
        if pretrain and pretrain != encoder.RANDOM and not resumed:
            check_filled(model, pretrain)
            if getattr(model, 'frozen', False) and 'train' in loaders:
                check_finite(model, loaders['train'].dataset, pretrain)
        if isinstance(model, (Classifier, Segmenter)):
            for name, loader in loaders.items():
                check_labels(model.head.num_classes, loader.dataset, f'{name}_dataloader')
        if dist.rank():
            return
        self.content = describe(runner, loaders)
        earlier = Path(runner.work_dir) / FILE
        if resumed and earlier.is_file():
            before = json.loads(earlier.read_text())
            if before['protocol'] == self.content['protocol'] and before['history']:
                self.history, self.content['encoder'] = before['history'], before['encoder']

    def _write(self, runner: Runner, metrics: dict[str, float], loop: Any) -> None:
        if dist.rank():
            return
        metric = summary(metrics, self.history)
        cfg, content = runner.cfg, self.content
        info = identify(cfg.get('load_from')) or identify(cfg.get('pretrain'))
        if info and (cfg.get('side') or info.side) != info.side:
            info = None  # the figure is of the file's other branch
        facts = plain(settings(runner, loop))
        found = figure(info, content['protocol'], Path(cfg.filename or ''), facts)
        content |= plain(
            dict(
                metric=metric,
                metrics=metrics,
                history=self.history,
                settings=facts,
                warnings=list(self.warnings.texts),
                published=found and found._asdict(),
            )
        )
        sets = {**content['data'], 'bank': facts.get('bank')}
        self.told = [f'result in {Path(runner.work_dir) / FILE}', *line(found, metric, sets)]
        for folder in (runner.log_dir, runner.work_dir):
            write(content, Path(folder) / FILE)

    def _tell(self, runner: Runner) -> None:
        for text in self.told:
            runner.logger.info(text)


def summary(metrics: dict[str, float], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first metric, now and at its best, and where that was: an epoch or a k."""
    name, last = next(iter(metrics.items()))
    others = {f'epoch {past["epoch"]}': past[name] for past in history if name in past}
    others |= {key: value for key, value in metrics.items() if key.startswith(f'{name}_k')}
    at = max(others, key=lambda key: others[key], default='')
    return dict(name=name, last=last, best=others.get(at, last), best_at=at)


def write(content: dict[str, Any], path: Path) -> None:
    """Write beside the final name and rename: a reader sees all or nothing."""
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    beside.write_text(json.dumps(content, indent=2) + '\n')
    os.replace(beside, path)
