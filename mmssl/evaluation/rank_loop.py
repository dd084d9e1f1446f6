"""RankMe of the features of held-out images as a monitor: it needs no labels."""

import copy
from typing import Any

from mmengine.runner import Runner

from ..core.io import unwrap_model
from ..functional.embedding_stats import rankme
from ..registry import LOOPS
from .feature_extraction import extract
from .feature_loop import FeatureLoop

METRIC = 'health/rankme'


@LOOPS.register_module()
class RankLoop(FeatureLoop):
    """Measure the effective rank of the pooled features of a loader's images.

    The loop of a training whose images have no labels; `KNNLoop` reports the same number beside its
    accuracies (RankMe, Garrido et al. 2023, there of representations before the projector too).
    """

    mode = 'val'

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any = None) -> None:
        super().__init__(runner, copy.deepcopy(dataloader))

    def measure(self) -> dict[str, float]:
        """Return the rank of the features."""
        model = unwrap_model(self.runner.model)
        bank = extract(model, self.dataloader, 'of held-out images')
        return {METRIC: rankme(bank.features).item()}
