"""How well the classes of pixels are met, over all ranks."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..core import dist
from ..core.faults import of_batch
from ..registry import METRICS


def overlaps(found: Tensor, truth: Tensor, classes: int, ignore: int) -> Tensor:
    """Count, per class, pixels that are met, found and there: int64 (3, classes).

    ``found`` and ``truth`` are masks of any one shape; where truth is ``ignore`` nothing counts.
    """
    judged = truth != ignore
    found, truth = found[judged], truth[judged]
    parts = (truth[found == truth], found, truth)
    return torch.stack([torch.bincount(p, minlength=classes)[:classes] for p in parts])


def mean_iou(counts: Tensor) -> float:
    """Mean over all classes of met / (found + there - met), in percent; counts (3, classes).

    As ImageNet-S defines it: 'other' is a class among others, and one that is neither found nor
    there counts 0.
    """
    met, found, there = counts.double()
    return 100 * (met / (found + there - met + 1e-10)).mean().item()


@METRICS.register_module()
class MeanIoU(BaseMetric):
    """Mean intersection over union of ImageNet-S in percent: segmentation/miou.

    The data set's classes count, 'other' with them; pixels of class ``ignore`` do not.
    """

    default_prefix = 'segmentation'

    def __init__(self, ignore: int = 1000) -> None:
        super().__init__()
        self.ignore = ignore

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the counts of each image."""
        samples = data_batch['data_samples']
        faults = of_batch(samples) or [''] * len(data_samples)
        classes = len((self.dataset_meta or {})['classes'])
        for sample, mask, fault in zip(data_samples, samples['label'], faults, strict=True):
            if not fault:  # else another image was shown in its place
                found = sample['pred_mask'].cpu()
                self.results.append(overlaps(found, mask.cpu(), classes, self.ignore))

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum counts over ranks; mmengine's own collection assumes padded ranks."""
        classes = len((self.dataset_meta or {})['classes'])
        none = torch.zeros(3, classes, dtype=torch.long)
        counts = torch.stack([none, *self.results]).sum(0)
        self.results.clear()
        return {'segmentation/miou': mean_iou(dist.sum_over_ranks(counts))}

    def compute_metrics(self, results: list) -> dict:
        """Unused: `evaluate` does the whole work."""
        raise NotImplementedError
