"""Base class of loops that compare query images with a bank of features (kNN, probe)."""

import copy
from typing import Any

from mmengine.runner import BaseLoop, Runner

from ..core import UserError
from ..core.io import unwrap_model
from .cache import POOLED, features
from .feature_extraction import Bank
from .fingerprint import data_fingerprint


def layer(feature: str | dict[str, Any]) -> dict[str, Any]:
    """Return arguments of `Backbone.last_blocks_features`, none for pixels; or raise UserError."""
    if feature == 'pixels':
        return {}
    asked = {} if feature == 'pooled' else feature
    if not isinstance(asked, dict) or set(asked) - {'blocks', 'pool'}:
        raise UserError(
            f"KNNLoop feature '{feature}' is unknown; use pooled, pixels or dict(blocks=, pool=)"
        )
    return {**POOLED, **asked}


def check_blocks(backbone: Any, blocks: int) -> None:
    """Refuse more blocks than there are, before hours of training. Raises UserError."""
    count = backbone.stage_ends[-1] + 1
    if not 1 <= blocks <= count:
        raise UserError(f'feature.blocks={blocks}, but the network has {count} blocks')


def check_classes(bank: Any, queries: Any) -> None:
    """Refuse two sets of different classes. Raises UserError naming the folders that differ."""
    if bank.classes != queries.classes:
        odd = sorted(set(bank.classes) ^ set(queries.classes))
        raise UserError(
            f'the bank has {len(bank.classes)} classes and the queries {len(queries.classes)}; '
            f'in one of them only: {", ".join(odd[:5])}. Give both the same class folders, or '
            'lists with labels of one numbering'
        )


class BankLoop(BaseLoop):
    """A loop over features of two sets; a subclass writes `measure`.

    ``bank`` overrides the loader's data set to give the bank's. ``feature`` as `layer` reads it.
    ``fp16`` extracts under autocast on a GPU. ``mode`` says whose hooks are called.
    """

    mode = 'test'
    names = ('bank', 'query')  # of the two sets, where progress is shown

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        bank: dict | None,
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

    def run(self) -> dict[str, float]:
        """Measure, and report through the runner's hooks."""
        runner = self.runner
        mode = self.mode
        runner.call_hook(f'before_{mode}')
        runner.call_hook(f'before_{mode}_epoch')
        metrics = self.measure()
        runner.call_hook(f'after_{mode}_epoch', metrics=metrics)
        runner.call_hook(f'after_{mode}')
        return metrics

    def measure(self) -> dict[str, float]:
        """Return the metrics."""
        raise NotImplementedError

    def _features(self) -> tuple[Bank, Bank]:
        """Return those of both sets; of a network in training nothing is kept."""
        folder = self.runner.cfg.get('features_cache') if self.mode == 'test' else None
        bank, query = (
            features(self.runner, loader, name, self.layer, folder, self.fp16)
            for loader, name in zip((self.bank, self.dataloader), self.names, strict=True)
        )
        return bank, query

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the figures, beside network and data."""
        return dict(
            features=self.layer or 'pixels',
            half=self.fp16,
            bank=data_fingerprint(self.bank.dataset),
        )
