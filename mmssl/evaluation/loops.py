"""kNN as a loop of the runner: while training, and alone."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch import Tensor

from ..core import UserError
from ..core.errors import NoData
from ..core.faults import SHARE
from ..registry import LOOPS
from .features import extract
from .knn import accuracy, knn
from .predictions import of_votes

TEMPERATURE = 0.07


def layer(feature: str | dict[str, Any]) -> dict[str, Any]:
    """Return arguments of `Backbone.descriptor`, or none for pixels; UserError for others."""
    if feature == 'pixels':
        return {}
    asked = {} if feature == 'pooled' else feature
    if not isinstance(asked, dict) or set(asked) - {'blocks', 'pool'}:
        raise UserError(
            f"KNNLoop feature '{feature}' is unknown; use pooled, pixels or dict(blocks=, pool=)"
        )
    return {'blocks': 1, 'pool': 'auto', **asked}


def pixels(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3HW)."""
    return images.flatten(1)


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
    ``fp16`` extracts under autocast on a GPU. Raises NoData without labels.
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
        self.k, self.temperature = tuple(k), temperature
        self.fp16, self.mode = fp16, 'val'

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
        model = getattr(self.runner.model, 'module', self.runner.model)
        share = getattr(self.runner, 'bad_share', SHARE)

        def feature(images: Tensor) -> Tensor:
            return model.backbone.descriptor(images, **self.layer) if self.layer else pixels(images)

        with torch.autocast('cuda', enabled=self.fp16):
            bank = extract(model, self.bank, 'bank', feature, share)
            query = extract(model, self.dataloader, 'query', feature, share)
        classes = max(len(self.bank.dataset.classes), int(bank.labels.max()) + 1)
        metrics = {}
        self.runner.predictions = []
        for k in self.k:
            votes = knn(bank.features, bank.labels, query.features, k, self.temperature, classes)
            metrics[f'knn/top1_k{k}'] = accuracy(votes, query.labels)
            metrics[f'knn/top5_k{k}'] = accuracy(votes, query.labels, 5)
            if not self.runner.predictions:
                self.runner.predictions = of_votes(self.dataloader.dataset, votes, query.indices)
        first = next(iter(metrics.values()))
        assert math.isfinite(first)
        return {'knn/top1': first, **metrics}


@LOOPS.register_module()
class KNNTestLoop(KNNLoop):
    """KNNLoop run by ``tools/test.py``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mode = 'test'
