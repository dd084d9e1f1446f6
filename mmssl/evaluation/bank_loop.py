"""What the loops share that judge a loader's images by those of a bank."""

import copy
from typing import Any

from mmengine.runner import BaseLoop

from ..core import UserError
from .cache import POOLED, features
from .features import Bank
from .identity import of_data


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


def check_blocks(backbone: Any, blocks: int) -> None:
    """Refuse more blocks than there are before anything else is done, as a monitor trains first."""
    count = backbone.stage_ends[-1] + 1
    if not 1 <= blocks <= count:
        raise UserError(f'feature.blocks={blocks}, but the network has {count} blocks')


def check_classes(bank: Any, queries: Any) -> None:
    """Refuse two sets whose labels mean different things, naming the folders that differ."""
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
        runner: Any,
        dataloader: Any,
        bank: dict | None,
        feature: str | dict[str, Any],
        fp16: bool,
    ) -> None:
        self.layer, self.fp16 = layer(feature), fp16
        model = getattr(runner.model, 'module', runner.model)
        check_blocks(model.backbone, self.layer.get('blocks', 1))
        query, stored = copy.deepcopy(dataloader), copy.deepcopy(dataloader)
        stored['dataset'].update(bank or dict(split='train'))
        super().__init__(runner, query)
        self.bank = runner.build_dataloader(stored, seed=runner.seed)

    def run(self) -> dict[str, float]:
        """Measure, and report through the runner's hooks."""
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
            features=self.layer or 'pixels', half=self.fp16, bank=of_data(self.bank.dataset)
        )
