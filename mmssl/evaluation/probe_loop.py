"""Linear probe on stored features, as a loop of the runner: a grid of classifiers side by side."""

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner

from ..core import UserError, dist
from ..core.errors import NoData, closest
from ..core.io import unwrap_model
from ..registry import LOOPS
from . import probe, probe_classifier
from .feature_loop import BankLoop, check_classes
from .knn import accuracy
from .predictions import of_votes
from .probe import Layers, Recipe, Scale
from .sanity_checks import advice_on_labels

FAR = 2.0  # a loss this many times that of a uniform answer is no longer overfitting


def recipe(settings: dict[str, Any] | None) -> Recipe:
    """Return the Recipe of a config's ``probe``.

    Raises UserError when a key is unknown or a value out of range.
    """
    for key in settings or {}:
        if key not in Recipe._fields:
            known = ', '.join(Recipe._fields)
            raise UserError(
                f'probe.{key} is unknown{closest(key, Recipe._fields)}; use {known}',
                key=f'probe.{key}',
                value=(settings or {})[key],
            )
    return Recipe(**(settings or {})).check()


@LOOPS.register_module()
class ProbeLoop(BankLoop):
    """Linear classification of the loader's images by layers trained on features of a bank.

    ``bank`` overrides settings of the loader's data set to give the training images. ``feature``
    is dict(blocks=, pool=) as `Backbone.last_blocks_features` takes them. ``probe`` holds the
    settings of `Recipe`. The pair of learning rate and weight decay is chosen on images held out
    of the training set, the layer is trained again on all of them, and the loader's images are
    scored once, at the end. ``fp16`` extracts under autocast on a GPU. ``classifier`` names a file
    of the work dir that gets network and layer, to predict with. Raises NoData when images
    have no labels, UserError when a setting is unknown or out of range or the two sets have
    different classes.
    """

    names = ('training', 'test')

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        bank: dict[str, Any] | None = None,
        feature: dict[str, Any] | None = None,
        probe: dict[str, Any] | None = None,
        fp16: bool = False,
        evaluator: Any = None,
        classifier: str | None = None,
    ) -> None:
        self.classifier = classifier
        self.recipe = recipe(probe)
        super().__init__(runner, dataloader, bank, feature or {}, fp16)
        sets = {'training': self.bank.dataset, 'test': self.dataloader.dataset}
        for name, data in sets.items():
            if not data.labels:
                raise NoData(
                    f'the {name} images have no labels, which a probe needs; '
                    f'{advice_on_labels(data)}',
                    key='labels',
                    value=None,
                )
        check_classes(*sets.values())
        self.classes = len(self.bank.dataset.classes)

    def measure(self) -> dict[str, float]:
        """Return test accuracies and held-out accuracy in percent, interval, and chosen pair.

        Raises UserError when `probe.split` does.
        """
        bank, query = self._features()
        scale = Scale.of(bank.features)
        x = scale(bank.features)
        labels = bank.labels
        (rate, decay), held_out = self.choose(x, labels)
        chosen = self._train(x, labels, [(rate, decay)])
        logits = chosen.logits(scale(query.features))[:, 0]  # (Q, classes)
        dataset = self.dataloader.dataset
        self.runner.step_status.predictions = of_votes(
            dataset, logits.double().softmax(1), query.indices
        )
        if self.classifier and not dist.rank():
            self._write_classifier(Path(self.runner.work_dir, self.classifier), chosen, scale)
        top1 = accuracy(logits, query.labels)
        low, high = probe.interval(top1, len(logits))
        return {
            'probe/top1': top1,
            'probe/top5': accuracy(logits, query.labels, 5),
            'probe/top1_low': low,
            'probe/top1_high': high,
            'probe/held_out_top1': held_out,
            'probe/rate': rate,
            'probe/decay': decay,
        }

    def choose(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[tuple[float, float], float]:
        """Return the (rate, decay) that is best on held-out images, and its accuracy there.

        x (N, C) and labels (N,) are the training images. Among equal accuracies the lowest loss
        decides. Warns when the rate is at an end of the grid. Raises UserError when `probe.split`
        does.
        """
        grid = self.recipe.grid()
        rows = probe.split(labels, self.recipe.held_out, self.runner.seed)
        best, percent, loss = probe.choose(
            x, labels, self.classes, self.recipe, rows, self.runner.seed
        )
        if not loss[best] <= FAR * math.log(self.classes):
            self.runner.logger.warning(
                f'probe: diverges: the best loss is {loss[best]:.3g}, that of a uniform answer '
                f'{math.log(self.classes):.3g} (ln {self.classes}); lower test_cfg.probe.rates'
            )
        info = self.runner.logger.info
        for (rate, decay), hits in zip(grid, percent, strict=True):
            info(f'probe: rate {rate:g}, decay {decay:g}: {hits:.2f} % of {len(rows[1])} held out')
        rates = self.recipe.rates
        if len(rates) > 2 and grid[best][0] in (min(rates), max(rates)):
            self.runner.logger.warning(
                f'probe: the best rate, {grid[best][0]:g}, is at an end of the grid: widen '
                'test_cfg.probe.rates'
            )
        return grid[best], percent[best]

    def _write_classifier(self, path: Path, layers: Layers, scale: Scale) -> None:
        """Write the network and the one layer (1, classes, C) as a classifier."""
        runner, names = self.runner, self.bank.dataset.classes
        settings = probe_classifier.settings_of(runner.cfg, self.layer, self.classes)
        model = probe_classifier.classifier_of(
            unwrap_model(runner.model).backbone,
            settings,
            layers.weights[0].cpu(),
            layers.biases[0].cpu(),
            Scale(scale.mean.cpu(), scale.std.cpu()),
        )
        probe_classifier.write(model, settings, runner.cfg, names, path)
        runner.logger.info(f'classifier in {path}')

    def _train(self, x: torch.Tensor, labels: torch.Tensor, grid: list[Any]) -> Layers:
        return probe.train(x, labels, self.classes, grid, self.recipe, self.runner.seed)

    @property
    def facts(self) -> dict[str, Any]:
        """Settings that the metrics depend on, apart from network and queries."""
        return dict(probe=self.recipe._asdict(), standardised=True, **super().facts)
