"""Which of many layers trained at once is best, and that it was chosen by looking."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ..core import UserError, dist
from ..core.faults import of_batch
from ..registry import HOOKS, METRICS


@METRICS.register_module()
class SweepAccuracy(BaseMetric):
    """Accuracy in percent of every layer of a SweepHead, and of the best.

    The best is the one with the highest top-1 on the very images that are reported, as iBOT does
    it: sweep/top1_best says more than a layer chosen elsewhere would reach. ``topk`` as Accuracy's.
    """

    default_prefix = 'sweep'

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.topk = tuple(topk)
        self.rates: list[float] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep, per image, the rank of its label among the scores of each layer."""
        samples = data_batch['data_samples']
        labels = samples['label'].tolist()
        faults = of_batch(samples) or [''] * len(labels)
        for sample, label, fault in zip(data_samples, labels, faults, strict=True):
            if not fault:
                scores, self.rates = sample['all_scores'], sample['rates']  # (G, classes), (G,)
                below = scores < scores[:, label : label + 1]
                self.results.append((~below).sum(1).cpu() - 1)  # ties, and NaN, count against it

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the accuracies over all ranks, each image once."""
        mine = [(len(self.results), self._hits(), self.rates)] if self.results else []
        self.results.clear()
        parts = [part for found in dist.gather_objects(mine) for part in found]
        count, rates = sum(n for n, _, _ in parts), parts[0][2]
        hits = torch.tensor([hits for _, hits, _ in parts], dtype=torch.double).sum(0)  # (topk, G)
        percent = 100 * hits / count
        best, first = int(percent[0].argmax()), self.topk[0]
        found = {
            f'sweep/top{k}_best': float(p[best]) for k, p in zip(self.topk, percent, strict=True)
        }
        pairs = zip(rates, percent[0].tolist(), strict=True)
        each = {f'sweep/top{first}_rate{rate:g}': value for rate, value in pairs}
        return {**found, 'sweep/best_rate': rates[best], **each}

    def _hits(self) -> list[list[int]]:
        ranks = torch.stack(self.results)  # (B, G)
        return [(ranks < k).sum(0).tolist() for k in self.topk]

    def compute_metrics(self, results: list) -> dict:
        """Unused: `evaluate` does the whole work."""
        raise NotImplementedError


@HOOKS.register_module()
class SweepHook(Hook):
    """Let the layer that the monitor found best answer, in files as well.

    Raises UserError before training with an optimizer under which a layer's share of the loss is
    not its learning rate.
    """

    def before_train(self, runner: Any) -> None:
        """Refuse whatever is not plain SGD."""
        wrapper = runner.optim_wrapper
        decays = any(group['weight_decay'] for group in wrapper.optimizer.param_groups)
        if not isinstance(wrapper.optimizer, torch.optim.SGD) or decays or wrapper.clip_grad_kwargs:
            raise UserError(
                'SweepHead trains with SGD without weight decay and without clip_grad: anything '
                'else mixes the learning rates of its layers'
            )

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the best layer into the head."""
        model: Any = runner.model
        head = (model.module if is_model_wrapper(model) else model).head
        best = head.rates.tolist().index((metrics or {})['sweep/best_rate'])
        head.best.fill_(best)
        runner.logger.info(
            f"sweep: rate {head.rates[best]:g} (times the optimizer's) is the best of "
            f'{len(head.rates)} on the images that it is reported on'
        )
