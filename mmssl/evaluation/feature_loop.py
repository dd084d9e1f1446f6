"""Base class of loops that compare query images with a bank of features (kNN, probe)."""

import copy
from typing import Any

from mmengine.runner import BaseLoop, Runner

from ..core import UserError
from ..core.io import unwrap_model
from ..datasets.class_numbers import follow_classes
from .cache import POOLED, features
from .feature_extraction import Bank
from .fingerprint import data_fingerprint


def layer(feature: str | dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Backbone.last_blocks_features`, none for pixels.

    Raises UserError when ``feature`` is not 'pooled', 'pixels' or dict(blocks=, pool=).
    """
    if feature == 'pixels':
        return {}
    asked = {} if feature == 'pooled' else feature
    if not isinstance(asked, dict) or set(asked) - {'blocks', 'pool'}:
        raise UserError(
            f'feature={feature!r} is unknown; use pooled, pixels or dict(blocks=, pool=)',
            key='feature',
            value=feature,
        )
    return {**POOLED, **asked}


def check_blocks(backbone: Any, blocks: int) -> None:
    """Check the number of blocks. Raises UserError when it is not from 1 to the backbone's."""
    count = backbone.stage_ends[-1] + 1
    if not 1 <= blocks <= count:
        raise UserError(
            f'feature.blocks={blocks}, but the network has {count} blocks; use 1 to {count}',
            key='feature.blocks',
            value=blocks,
        )


def check_classes(bank: Any, queries: Any) -> None:
    """Give the queries the class numbers of the bank, as `follow_classes` does.

    Raises UserError when the queries have classes that the bank lacks.
    """
    follow_classes(queries, tuple(bank.classes), 'bank')


class FeatureLoop(BaseLoop):
    """Base class of loops over features of the loader's images; subclasses write `measure`.

    ``mode`` ('val' or 'test') selects the hooks that are called.
    """

    mode = 'test'

    def run(self) -> dict[str, float]:
        """Call `measure` between the runner's hooks, pass them the metrics, and return these."""
        runner, mode = self.runner, self.mode
        runner.call_hook(f'before_{mode}')
        runner.call_hook(f'before_{mode}_epoch')
        metrics = self.measure()
        runner.call_hook(f'after_{mode}_epoch', metrics=metrics)
        runner.call_hook(f'after_{mode}')
        return metrics

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        raise NotImplementedError


class BankLoop(FeatureLoop):
    """Base class of loops over the features of a bank and of queries.

    ``bank`` overrides settings of the loader's data set to give the bank's. ``feature`` is as
    `layer` takes it. ``fp16`` extracts under autocast on a GPU. Raises UserError when the feature
    is unknown or has more blocks than the network.
    """

    names = ('bank', 'query')  # of the two sets, where progress is shown

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        bank: dict[str, Any] | None,
        feature: str | dict[str, Any],
        fp16: bool,
    ) -> None:
        self.layer = layer(feature)
        self.fp16 = fp16
        model = unwrap_model(runner.model)
        check_blocks(model.backbone, self.layer.get('blocks', 1))
        query_loader = copy.deepcopy(dataloader)
        bank_loader = copy.deepcopy(dataloader)
        bank_loader['dataset'].update(bank or dict(split='train'))
        super().__init__(runner, query_loader)
        self.bank = runner.build_dataloader(bank_loader, seed=runner.seed)

    def _features(self) -> tuple[Bank, Bank]:
        """Return the features of both sets; those of a network in training are not stored."""
        folder = self.runner.cfg.get('features_cache') if self.mode == 'test' else None
        bank, query = (
            features(self.runner, loader, name, self.layer, folder, self.fp16)
            for loader, name in zip((self.bank, self.dataloader), self.names, strict=True)
        )
        return bank, query

    @property
    def facts(self) -> dict[str, Any]:
        """Settings that the metrics depend on, apart from network and queries."""
        return dict(
            features=self.layer or 'pixels',
            half=self.fp16,
            bank=data_fingerprint(self.bank.dataset),
        )
