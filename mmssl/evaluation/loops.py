"""kNN as a loop of the runner: while training, and alone."""

from collections.abc import Sequence
from typing import Any

from torch.nn import functional as F

from ..core.errors import NoData
from ..registry import LOOPS
from .bank_loop import BankLoop, check_classes
from .features import Bank
from .knn import accuracy, by_k
from .predictions import of_votes

TEMPERATURE = 0.07
ALIKE = 1e-4  # spread of unit features that is no more than rounding


@LOOPS.register_module()
class KNNLoop(BankLoop):
    """Classify the loader's images by the nearest images of a bank.

    ``bank`` overrides the loader's data set to give the bank's: dict(split='train',
    per_class=100). Reports top-1 and top-5 (in percent) for every k; 'knn/top1' is that of the
    first k. ``feature`` is 'pooled', what pretraining works on; dict(blocks=4, pool='mean'), as
    `Backbone.descriptor` takes them; or 'pixels', normalised ones: what the network must beat.
    ``fp16`` extracts under autocast on a GPU. A k above the bank is lowered, and a bank of one
    class is scored, both with a warning. Raises NoData without labels.
    """

    mode = 'val'

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
        super().__init__(runner, dataloader, bank, feature, fp16)
        for loader in (self.bank, self.dataloader):
            if not loader.dataset.labels:
                raise NoData('the images have no labels, so there is no accuracy to measure')
        check_classes(self.bank.dataset, self.dataloader.dataset)
        self.k, self.temperature = self._sizes(k), temperature

    def _sizes(self, asked: Sequence[int]) -> list[int]:
        """Return every k, those above the bank lowered to it; warn of what decides nothing."""
        warn, labels = self.runner.logger.warning, self.bank.dataset.labels
        for k in asked:
            if k > len(labels):
                warn(f'kNN: k={k} lowered to the {len(labels)} images of the bank')
        if len(set(labels)) == 1:
            warn('kNN: all images of the bank are of one class, so that every answer is this class')
        return list(dict.fromkeys(min(k, len(labels)) for k in asked))

    def measure(self) -> dict[str, float]:
        """Return the accuracies in percent."""
        bank, query = self._features()
        classes = max(len(self.bank.dataset.classes), int(bank.labels.max()) + 1)
        metrics = {}
        self.runner.predictions = []
        sets = bank.features, bank.labels, query.features
        answers = by_k(*sets, self.k, self.temperature, classes)
        for k, votes in zip(self.k, answers, strict=True):
            metrics[f'knn/top1_k{k}'] = accuracy(votes, query.labels)
            metrics[f'knn/top5_k{k}'] = accuracy(votes, query.labels, 5)
            if not self.runner.predictions:
                self.runner.predictions = of_votes(self.dataloader.dataset, votes, query.indices)
        return {'knn/top1': next(iter(metrics.values())), **metrics}

    def _features(self) -> tuple[Bank, Bank]:
        """Return those of the bank and of the queries; warn when all are alike."""
        bank, query = super()._features()
        spread = F.normalize(bank.features, dim=1).std(0, correction=0).norm()
        if spread < ALIKE and len(bank.labels) > 1:
            text = f'kNN: the features of all images are alike (spread {spread:.1e}): collapsed'
            self.runner.logger.warning(text)
        return bank, query

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the figures, beside network and data."""
        return dict(k=self.k, temperature=self.temperature, **super().facts)


@LOOPS.register_module()
class KNNTestLoop(KNNLoop):
    """KNNLoop run by ``tools/test.py``."""

    mode = 'test'
