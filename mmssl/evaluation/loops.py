"""kNN as a loop of the runner: while training, and alone."""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.runner import BaseLoop
from torch.nn import functional as F

from ..core import UserError
from ..core.errors import NoData
from ..registry import LOOPS
from .cache import POOLED, features
from .features import Bank
from .identity import of_data
from .knn import accuracy, knn
from .predictions import of_votes

TEMPERATURE = 0.07
ALIKE = 1e-4  # spread of unit features that is no more than rounding


def layer(feature: str | dict[str, Any]) -> dict[str, Any]:
    """Return arguments of `Backbone.descriptor`, or none for pixels; UserError for others."""
    if feature == 'pixels':
        return {}
    asked = {} if feature == 'pooled' else feature
    if not isinstance(asked, dict) or set(asked) - {'blocks', 'pool'}:
        raise UserError(
            f"KNNLoop feature '{feature}' is unknown; use pooled, pixels or dict(blocks=, pool=)"
        )
    return {**POOLED, **asked}


def check_classes(bank: Any, queries: Any) -> None:
    """Refuse two sets whose labels mean different things, naming the folders that differ."""
    if bank.classes != queries.classes:
        odd = sorted(set(bank.classes) ^ set(queries.classes))
        raise UserError(
            f'the bank has {len(bank.classes)} classes and the queries {len(queries.classes)}; '
            f'in one of them only: {", ".join(odd[:5])}. Give both the same class folders, or '
            'lists with labels of one numbering'
        )


@LOOPS.register_module()
class KNNLoop(BaseLoop):
    """Classify the loader's images by the nearest images of a bank.

    ``bank`` overrides the loader's data set to give the bank's: dict(split='train',
    per_class=100). Reports top-1 and top-5 (in percent) for every k; 'knn/top1' is that of the
    first k. ``feature`` is 'pooled', what pretraining works on; dict(blocks=4, pool='mean'), as
    `Backbone.descriptor` takes them; or 'pixels', normalised ones: what the network must beat.
    ``fp16`` extracts under autocast on a GPU. A k above the bank is lowered, and a bank of one
    class is scored, both with a warning. Raises NoData without labels.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        bank: dict | None = None,
        k: Sequence[int] = (20, 10, 100, 200),
        temperature: float = TEMPERATURE,
        feature: str | dict[str, Any] = 'pooled',
        fp16: bool = False,
        evaluator: Any = None,
    ) -> None:
        self.layer = layer(feature)
        query = copy.deepcopy(dataloader)
        stored = copy.deepcopy(dataloader)
        stored['dataset'].update(bank or dict(split='train'))
        super().__init__(runner, query)
        self.bank = runner.build_dataloader(stored, seed=runner.seed)
        for loader in (self.bank, self.dataloader):
            if not loader.dataset.labels:
                raise NoData('the images have no labels, so there is no accuracy to measure')
        check_classes(self.bank.dataset, self.dataloader.dataset)
        self.k, self.temperature = self._sizes(k), temperature
        self.fp16, self.mode = fp16, 'val'

    def _sizes(self, asked: Sequence[int]) -> list[int]:
        """Return every k, those above the bank lowered to it; warn of what decides nothing."""
        warn, labels = self.runner.logger.warning, self.bank.dataset.labels
        for k in asked:
            if k > len(labels):
                warn(f'kNN: k={k} lowered to the {len(labels)} images of the bank')
        if len(set(labels)) == 1:
            warn('kNN: all images of the bank are of one class, so that every answer is this class')
        return list(dict.fromkeys(min(k, len(labels)) for k in asked))

    def run(self) -> dict[str, float]:
        """Extract both sets, vote, and report through the runner's hooks."""
        runner, mode = self.runner, self.mode
        runner.call_hook(f'before_{mode}')
        runner.call_hook(f'before_{mode}_epoch')
        metrics = self.measure()
        runner.call_hook(f'after_{mode}_epoch', metrics=metrics)
        runner.call_hook(f'after_{mode}')
        return metrics

    def measure(self) -> dict[str, float]:
        """Return the accuracies in percent."""
        bank, query = self._features()
        classes = max(len(self.bank.dataset.classes), int(bank.labels.max()) + 1)
        metrics = {}
        self.runner.predictions = []
        for k in self.k:
            votes = knn(bank.features, bank.labels, query.features, k, self.temperature, classes)
            metrics[f'knn/top1_k{k}'] = accuracy(votes, query.labels)
            metrics[f'knn/top5_k{k}'] = accuracy(votes, query.labels, 5)
            if not self.runner.predictions:
                self.runner.predictions = of_votes(self.dataloader.dataset, votes, query.indices)
        return {'knn/top1': next(iter(metrics.values())), **metrics}

    def _features(self) -> tuple[Bank, Bank]:
        """Return those of the bank and of the queries; a network in training is not kept."""
        folder = self.runner.cfg.get('features_cache') if self.mode == 'test' else None
        bank, query = (
            features(self.runner, loader, name, self.layer, folder, self.fp16)
            for loader, name in ((self.bank, 'bank'), (self.dataloader, 'query'))
        )
        spread = F.normalize(bank.features, dim=1).std(0, correction=0).norm()
        if spread < ALIKE and len(bank.labels) > 1:
            text = f'kNN: the features of all images are alike (spread {spread:.1e}): collapsed'
            self.runner.logger.warning(text)
        return bank, query

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the figures, beside network and data."""
        return dict(
            k=self.k,
            temperature=self.temperature,
            features=self.layer or 'pixels',
            half=self.fp16,
            bank=of_data(self.bank.dataset),
        )


@LOOPS.register_module()
class KNNTestLoop(KNNLoop):
    """KNNLoop run by ``tools/test.py``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mode = 'test'
