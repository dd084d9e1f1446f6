"""RankMe of the features of held-out images as a monitor: it needs no labels."""

import copy
from typing import Any

from mmengine.runner import BaseLoop, Runner

from ..core.io import unwrap_model
from ..functional.embedding_stats import rankme
from ..registry import LOOPS
from .feature_extraction import extract

METRIC = 'health/rankme'


@LOOPS.register_module()
class RankLoop(BaseLoop):
    """Measure the effective rank of the pooled features of a loader's images.

    The loop of a training whose images have no labels; `KNNLoop` reports the same number beside its
    accuracies (RankMe, Garrido et al. 2023, there of representations before the projector too).
    """

    mode = 'val'

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any = None) -> None:
        super().__init__(runner, copy.deepcopy(dataloader))

    def run(self) -> dict[str, float]:
        """Extract the features between the runner's hooks, and return the metric."""
        runner = self.runner
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch')
        bank = extract(unwrap_model(runner.model), self.dataloader, 'of held-out images')
        metrics = {METRIC: rankme(bank.features)}
        runner.call_hook('after_val_epoch', metrics=metrics)
        runner.call_hook('after_val')
        return metrics
