"""Accuracy over all ranks, each image counted once."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from ..core import dist
from ..core.faults import of_batch
from ..registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy in percent: accuracy/top1, accuracy/top5."""

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        super().__init__()
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep, per image, the rank of its label among the scores."""
        samples = data_batch['data_samples']
        labels = samples['label'].tolist()
        faults = of_batch(samples) or [''] * len(labels)
        for sample, label, fault in zip(data_samples, labels, faults, strict=True):
            if fault:
                continue  # another image was shown in its place
            scores = sample['pred_scores']
            # what is not below the label's score counts against it: ties, and NaN
            self.results.append(int((~(scores < scores[label])).sum()) - 1)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum counts over ranks; mmengine's own collection assumes padded ranks."""
        ranks = torch.tensor(self.results, dtype=torch.long)
        counts = torch.tensor([len(ranks), *((ranks < k).sum() for k in self.topk)])
        total = dist.sum_over_ranks(counts).tolist()
        self.results.clear()
        return {
            f'accuracy/top{k}': 100 * hits / max(total[0], 1)
            for k, hits in zip(self.topk, total[1:], strict=True)
        }

    def compute_metrics(self, results: list) -> dict:
        """Unused: `evaluate` does the whole work."""
        raise NotImplementedError
