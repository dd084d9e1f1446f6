"""Top-k accuracy over all ranks, each image counted once, for one classifier layer or several."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ...core import UserError, dist
from ...core.bad_samples import readable
from ...registry import METRICS


def label_rank(scores: Tensor, label: int) -> Tensor:
    """Return the number of other classes that score as high as the label: (G, classes) -> (G,).

    Ties and NaN count against the label.
    """
    below = scores < scores[:, label : label + 1]
    return (~below).sum(1).cpu() - 1


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy in percent: accuracy/top1, accuracy/top5.

    For a SweepHead, whose layers have different learning rates, it reports sweep/top1_rate0.1 and
    so on, and the best layer: sweep/top1_best, sweep/top5_best, sweep/best_rate. The best layer
    is chosen on the reported images, as in iBOT, so its accuracy is optimistic: a layer chosen on
    other images would reach less.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.topk = tuple(topk)
        self.rates: list[float] = []  # of a SweepHead's layers; none for a single layer

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep, for each readable image, the ranks (G,) of its label in the scores of G layers.

        Outputs hold ``pred_scores`` (classes,) or, of a SweepHead, ``all_scores`` (G, classes).
        """
        samples = data_batch['data_samples']
        labels = samples['label'].tolist()
        for i, output in readable(samples, data_samples):
            self.rates = output.get('rates', [])
            scores = output['all_scores'] if self.rates else output['pred_scores'][None]
            self.results.append(label_rank(scores, labels[i]))  # (G,)

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the accuracies over all ranks, in percent.

        mmengine's own collection assumes padded ranks. Raises UserError when no image could be
        read.
        """
        counted = []  # nothing of a rank without images, which does not know the rates either
        if self.results:
            ranks = torch.stack(self.results)  # (B, G)
            hits = [(ranks < k).sum(0).tolist() for k in self.topk]  # (topk, G)
            counted = [(len(ranks), hits, self.rates)]
        self.results.clear()
        parts = [part for of_rank in dist.gather_objects(counted) for part in of_rank]
        if not parts:
            raise UserError(
                'dataset: no image of the evaluation could be read, so there is no accuracy; '
                'mmssl data DIR names the files',
                key='dataset',
                value=None,
            )
        images = sum(count for count, _, _ in parts)
        total = torch.tensor([hits for _, hits, _ in parts], dtype=torch.double).sum(0)
        percent = 100 * total / images  # (topk, G)
        rates = parts[0][2]
        if rates:
            return self._sweep(percent, rates)
        return {f'accuracy/top{k}': float(p) for k, p in zip(self.topk, percent, strict=True)}

    def _sweep(self, percent: Tensor, rates: list[float]) -> dict[str, float]:
        """Return the metrics of G layers and of the best one, from percent (topk, G)."""
        best = int(percent[0].argmax())
        metrics = {
            f'sweep/top{k}_best': float(p[best]) for k, p in zip(self.topk, percent, strict=True)
        }
        metrics['sweep/best_rate'] = rates[best]
        for rate, value in zip(rates, percent[0].tolist(), strict=True):
            metrics[f'sweep/top{self.topk[0]}_rate{rate:g}'] = value
        return metrics

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """Raise NotImplementedError: `evaluate` computes the metrics."""
        raise NotImplementedError
