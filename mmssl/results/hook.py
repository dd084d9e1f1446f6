"""Hook that writes ``result.json``: metrics, settings and provenance of one evaluation."""

import json
import logging
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ..checkpoint.load import stated_classes
from ..config import pretrained
from ..core import dist
from ..core.io import atomic_write, read_json, to_plain, unwrap_model
from ..datasets import ImageDataset
from ..datasets.class_numbers import follow_classes
from ..engine.runner import Runner
from ..evaluation.sanity_checks import check_filled, check_finite, check_labels
from ..models.classifier import Classifier
from ..models.segmenter import Segmenter
from ..zoo.hub import identify
from .reference import comparison_line, published_figure
from .result_file import describe, settings

FILE = 'result.json'
MAX_WARNINGS = 50  # distinct warnings kept in the file


def register_result_hook(runner: Runner) -> None:
    """Register `ResultHook` if the runner evaluates an encoder or classifier."""
    cfg = runner.cfg
    is_classifier = isinstance(unwrap_model(runner.model), Classifier)
    if cfg.get('train_cfg') is None or 'pretrained' in cfg or is_classifier:
        runner.register_hook(ResultHook(runner))


class _WarningCollector(logging.Handler):
    """Log handler that keeps the text of each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < MAX_WARNINGS:
            self.texts[record.getMessage()] = None


class ResultHook(Hook):
    """Check network and labels before an evaluation, and write result.json after it.

    The newest result is in the work dir, each run's own in its dated folder. When the model index
    has a published figure for what was run, the last log line compares the two. Raises UserError
    for a network that got no weights, features that are not finite, or labels that do not fit.
    """

    priority = 'LOWEST'

    def __init__(self, runner: Runner) -> None:
        self.warnings = _WarningCollector()
        runner.logger.addHandler(self.warnings)
        self.content: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary_lines: list[str] = []
        self.resumed_classes: tuple[str, ...] = ()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the class names of a training file that is resumed."""
        self.resumed_classes = stated_classes(checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Check network and labels, and describe the start."""
        self._check_and_describe(
            runner, dict(train=runner.train_dataloader, val=runner.val_dataloader)
        )

    def before_test(self, runner: Runner) -> None:
        """Check network and labels, and describe them."""
        self._check_and_describe(runner, dict(test=runner.test_dataloader))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the file after each validation, so that an interrupted run has one too."""
        if metrics:
            self.history.append(dict(epoch=runner.epoch, **metrics))
            self._write(runner, metrics, runner.val_loop)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the file."""
        if metrics:
            self._write(runner, metrics, runner.test_loop)

    def after_train(self, runner: Runner) -> None:
        """Log where the result is, and how it compares with the published figure."""
        self._log_summary(runner)

    def after_test(self, runner: Runner) -> None:
        """Log where the result is, and how it compares with the published figure."""
        self._log_summary(runner)

    def _check_and_describe(self, runner: Runner, loaders: dict[str, Any]) -> None:
        model = unwrap_model(runner.model)
        loaders = {name: loader for name, loader in loaders.items() if loader is not None}
        resumed = runner._resumed is not None
        source = runner.cfg.get('pretrained')
        if source and source != pretrained.RANDOM and not resumed:
            check_filled(model, source)
            if isinstance(model, Classifier) and model.frozen and 'train' in loaders:
                check_finite(model, loaders['train'].dataset, source)
        if isinstance(model, (Classifier, Segmenter)):
            self._check_classes(runner, model, loaders)
        if dist.rank():
            return
        loaders = {'test' if name == 'val' else name: loader for name, loader in loaders.items()}
        self.content = describe(runner, loaders)
        earlier = Path(runner.work_dir) / FILE
        if resumed and earlier.is_file():
            before = read_json(earlier) or dict(protocol=None)
            if before['protocol'] == self.content['protocol'] and before['history']:
                self.history = before['history']
                self.content['encoder'] = before['encoder']

    def _check_classes(self, runner: Runner, model: Any, loaders: dict[str, Any]) -> None:
        """Number classes as the file of the classifier has them, else as the training images.

        Raises UserError for classes that these do not have.
        """
        classes, whose = self._classes_of_file(runner, model)
        for name, loader in loaders.items():
            # a data set of the user's own class need not tell its classes
            own = tuple(getattr(loader.dataset, 'classes', ()))
            if classes and own:
                follow_classes(loader.dataset, classes, f'{name}_dataloader', whose)
            elif name == 'train' and isinstance(loader.dataset, ImageDataset):
                classes, whose = own, 'the training images'
            check_labels(model.head.num_classes, loader.dataset, f'{name}_dataloader')

    def _classes_of_file(self, runner: Runner, model: Any) -> tuple[tuple[str, ...], str]:
        """Return the class names that the file of a classifier of ours states, and its path."""
        if runner._resumed is not None:
            return self.resumed_classes, str(runner._resumed)
        loaded = model.backbone.loaded
        if loaded is None or loaded.layout != 'mmssl' or 'head.fc.weight' not in loaded.matched:
            return (), ''
        return loaded.classes, loaded.path

    def _write(self, runner: Runner, metrics: dict[str, float], loop: Any) -> None:
        if dist.rank():
            return
        metric = summary(metrics, self.history)
        cfg = runner.cfg
        content = self.content
        info = identify(cfg.get('load_from')) or identify(cfg.get('pretrained'))
        if info and (cfg.get('branch') or info.branch) != info.branch:
            info = None  # the figure is of the file's other branch
        used = to_plain(settings(runner, loop))
        published = published_figure(info, content['protocol'], Path(cfg.filename or ''), used)
        content |= to_plain(
            dict(
                metric=metric,
                metrics=metrics,
                history=self.history,
                settings=used,
                warnings=list(self.warnings.texts),
                published=published and published._asdict(),
            )
        )
        datasets = {**content['data'], 'bank': used.get('bank')}
        self.summary_lines = [
            f'result in {Path(runner.work_dir) / FILE}',
            *comparison_line(published, metric, datasets),
        ]
        for folder in (runner.log_dir, runner.work_dir):
            atomic_write(Path(folder) / FILE, json.dumps(content, indent=2) + '\n')

    def _log_summary(self, runner: Runner) -> None:
        for text in self.summary_lines:
            runner.logger.info(text)


def summary(metrics: dict[str, float], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first metric's last and best value, and where the best was: an epoch or a k."""
    name, last = next(iter(metrics.items()))
    others = {f'epoch {past["epoch"]}': past[name] for past in history if name in past}
    others |= {key: value for key, value in metrics.items() if key.startswith(f'{name}_k')}
    best_at = max(others, key=lambda key: others[key], default='')
    return dict(name=name, last=last, best=others.get(best_at, last), best_at=best_at)
