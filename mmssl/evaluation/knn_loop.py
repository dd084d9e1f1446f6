"""kNN evaluation as a loop of the runner: as a monitor in training, and alone."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner
from torch.nn import functional as F

from ..core import UserError
from ..core.errors import NoData
from ..functional.embedding_stats import rankme
from ..registry import LOOPS
from .feature_extraction import Bank
from .feature_loop import BankLoop, check_classes
from .knn import accuracy, by_k, check_numbers
from .predictions import of_votes
from .rank_loop import METRIC
from .sanity_checks import ALIKE, advice_on_labels

TEMPERATURE = 0.07  # config key val_cfg.temperature (or test_cfg)


@LOOPS.register_module()
class KNNLoop(BankLoop):
    """Classify the loader's images by the nearest images of a bank.

    ``bank`` overrides settings of the loader's data set to give the bank's: dict(split='train',
    per_class=100). Reports top-1 and top-5 (in percent) for every k; 'knn/top1' is that of the
    first k. ``feature`` is 'pooled', the feature that pretraining uses; dict(blocks=4,
    pool='mean'), as `Backbone.last_blocks_features` takes them; or 'pixels', the normalised
    pixels, as a lower bound. A monitor reports 'health/rankme' of the queries' features too.
    ``fp16`` extracts under autocast on a GPU. A k above the bank is
    lowered, and a bank of one class is scored, both with a warning. ``mode`` is 'val' in training
    and 'test' for ``tools/test.py``: it selects the hooks that are called and whether features
    may be stored. Raises NoData when images have no labels, UserError when mode or feature is
    unknown, k or temperature cannot vote, or the bank has other classes than the queries.
    """

    off_without_data = 'kNN monitor off'
    instead = 'RankLoop'

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        bank: dict[str, Any] | None = None,
        k: Sequence[int] = (20, 10, 100, 200),
        temperature: float = TEMPERATURE,
        feature: str | dict[str, Any] = 'pooled',
        fp16: bool = False,
        evaluator: Any = None,
        mode: str = 'val',
    ) -> None:
        if mode not in ('val', 'test'):
            raise UserError(
                f"KNNLoop mode '{mode}' is unknown; use val or test", key='mode', value=mode
            )
        check_numbers(k, temperature)
        self.mode = mode
        super().__init__(runner, dataloader, bank, feature, fp16)
        for name, loader in zip(self.names, (self.bank, self.dataloader), strict=True):
            if not loader.dataset.labels:
                raise NoData(
                    f'the {name} images have no labels, so there is no accuracy to measure; '
                    f'{advice_on_labels(loader.dataset)}',
                    key='labels',
                    value=None,
                )
        check_classes(self.bank.dataset, self.dataloader.dataset)
        self.k = self._sizes(k)
        self.temperature = temperature

    def _sizes(self, asked: Sequence[int]) -> list[int]:
        """Return every k, lowered to the size of the bank; warn of that and of a single class."""
        warn, labels = self.runner.logger.warning, self.bank.dataset.labels
        for k in asked:
            if k > len(labels):
                warn(f'kNN: k={k} lowered to the {len(labels)} images of the bank')
        if len(set(labels)) == 1:
            warn('kNN: all images of the bank are of one class, so that every answer is this class')
        return list(dict.fromkeys(min(k, len(labels)) for k in asked))

    def measure(self) -> dict[str, float]:
        """Return the top-1 and top-5 accuracies in percent, for every k."""
        bank, query = self._features()
        classes = max(len(self.bank.dataset.classes), int(bank.labels.max()) + 1)
        metrics = {}
        self.runner.step_status.predictions = []
        sets = bank.features, bank.labels, query.features
        answers = by_k(*sets, self.k, self.temperature, classes)
        for k, votes in zip(self.k, answers, strict=True):
            metrics[f'knn/top1_k{k}'] = accuracy(votes, query.labels)
            metrics[f'knn/top5_k{k}'] = accuracy(votes, query.labels, 5)
            if not self.runner.step_status.predictions:
                self.runner.step_status.predictions = of_votes(
                    self.dataloader.dataset, votes, query.indices
                )
        first = {'knn/top1': next(iter(metrics.values()))}
        if self.mode == 'val':
            metrics[METRIC] = rankme(query.features).item()
        return first | metrics

    def _features(self) -> tuple[Bank, Bank]:
        """Return the features of bank and queries; warn when those of the bank are all equal."""
        bank, query = super()._features()
        std = F.normalize(bank.features, dim=1).std(0, correction=0).norm()
        if std < ALIKE and len(bank.labels) > 1:
            text = f'kNN: the features of all images are equal (std {std:.1e}): collapsed'
            self.runner.logger.warning(text)
        return bank, query

    @property
    def facts(self) -> dict[str, Any]:
        """Settings that the metrics depend on, apart from network and queries."""
        return dict(k=self.k, temperature=self.temperature, **super().facts)
